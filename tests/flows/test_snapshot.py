import hashlib
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import DataError
from flows import changes, snapshot
from flows.git import commit_of, files, git


def _sh(*arguments: str) -> None:
    git("-c", "user.name=somebody", "-c", "user.email=s@localhost", *arguments)


def _state_of_git() -> dict[str, str]:
    """Every file of .git but objects and our own refs, by its bytes."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(".git").rglob("*"))
        if path.is_file() and "objects" not in path.parts and "freshtune" not in path.parts
    }


def _work_in_flight() -> None:
    """Commits, a stash, staged and unstaged changes, a deletion, an untracked file, and an intent to add."""
    for name in ("a", "b", "gone"):
        Path(name).write_text(f"{name}\n")
    Path(".gitignore").write_text("ignored\n")
    _sh("add", ".")
    _sh("commit", "-m", "first", "--no-verify")
    Path("a").write_text("stashed\n")
    _sh("stash")
    Path("a").write_text("staged\n")
    _sh("add", "a")
    Path("a").write_text("staged and more\n")
    Path("b").write_text("unstaged\n")
    Path("gone").unlink()
    Path("new").write_text("untracked\n")
    _sh("add", "--intent-to-add", "new")
    Path("ignored").write_text("secret\n")


def _content(commit: str) -> dict[str, str]:
    return {path: git("cat-file", "blob", blob).decode() for path, (_, blob) in files(commit).items()}


def test_the_users_branch_index_and_stash_are_untouched_byte_for_byte(repository: Path) -> None:
    _work_in_flight()
    before, head = _state_of_git(), commit_of("HEAD")
    taken = snapshot.take()
    assert _state_of_git() == before
    assert commit_of("HEAD") == head
    assert _content(taken.commit) == {
        ".gitignore": "ignored\n",
        "a": "staged and more\n",
        "b": "unstaged\n",
        "new": "untracked\n",
    }
    assert git("rev-parse", f"{taken.commit}^").decode().strip() == head


def test_a_detached_head_stays_detached(repository: Path) -> None:
    _work_in_flight()
    _sh("checkout", "--quiet", "--detach")
    before = _state_of_git()
    snapshot.take()
    assert _state_of_git() == before


def test_a_repository_without_commits_and_names_is_enough(repository: Path) -> None:
    Path("params.yaml").write_text("a: 1\n")
    before = _state_of_git()
    taken = snapshot.take()
    assert _state_of_git() == before
    assert _content(taken.commit) == {"params.yaml": "a: 1\n"}


def test_hooks_that_would_fail_do_not_run(repository: Path) -> None:
    Path("a").write_text("a\n")
    for name in ("pre-commit", "commit-msg", "post-commit", "reference-transaction", "post-index-change"):
        hook = Path(".git/hooks") / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\ntouch ran-a-hook\nexit 1\n")
        hook.chmod(0o755)
    assert _content(snapshot.take().commit) == {"a": "a\n"}
    assert not Path("ran-a-hook").exists()


def test_git_variables_of_a_surrounding_hook_are_not_obeyed(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a").write_text("a\n")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    assert _content(snapshot.take().commit) == {"a": "a\n"}


def test_bytes_modes_links_and_odd_names_are_kept(repository: Path) -> None:
    odd = "späce \t“q”\\.md"
    Path(odd).write_bytes(b"\x00\xff\r\n")
    Path("run.sh").write_text("#!/bin/sh\n")
    Path("run.sh").chmod(0o755)
    Path("link").symlink_to(odd)
    (repository / ".gitattributes").write_text("* text=auto eol=lf\n")
    held = files(snapshot.take().commit)
    assert git("cat-file", "blob", held[odd][1]) == b"\x00\xff\r\n"
    assert held["run.sh"][0] == "100755"
    assert held["link"][0] == "120000"
    assert git("cat-file", "blob", held["link"][1]) == os.fsencode(odd)


def test_large_files_stay_out_and_are_named(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "MAX_BYTES", 2**20)
    Path("weights.bin").write_bytes(bytes(2**20 + 1))
    Path("a").write_text("a\n")
    taken = snapshot.take()
    assert set(files(taken.commit)) == {"a"}
    assert "left out, over 1 MiB: weights.bin" in taken.notes


def test_nothing_new_gives_the_same_snapshot(repository: Path) -> None:
    Path("a").write_text("a\n")
    first = snapshot.take()
    assert snapshot.take() == first
    assert snapshot.log() == [first]


def test_our_own_state_is_never_in_it(repository: Path) -> None:
    Path("a").write_text("a\n")
    Path(".freshtune").mkdir()
    Path(".freshtune/writer.json").write_text("{}")
    assert set(files(snapshot.take().commit)) == {"a"}


def test_a_sealed_run_keeps_its_inputs_and_adds_what_it_left(repository: Path) -> None:
    Path("a").write_text("a\n")
    taken = snapshot.take()
    Path("dvc.lock").write_text("hashes\n")
    sealed = snapshot.seal(taken, ["ran: base"])
    assert snapshot.log() == [sealed]
    assert sealed.inputs == taken.commit
    assert set(files(sealed.inputs)) == {"a"}
    assert set(files(sealed.commit)) == {"a", "dvc.lock"}
    assert sealed.notes == ["the first snapshot", "ran: base"]
    assert snapshot.take() == sealed


def test_an_edit_during_a_run_is_of_the_next_snapshot(repository: Path) -> None:
    Path("a").write_text("a\n")
    taken = snapshot.take()
    Path("a").write_text("edited\n")
    Path("dvc.lock").write_text("hashes\n")
    sealed = snapshot.seal(taken, [])
    assert _content(sealed.commit) == {"a": "a\n", "dvc.lock": "hashes\n"}
    assert snapshot.take().notes == ["a changed (+1 -1 lines)"]


def test_a_snapshot_tells_what_changed_since_the_last(repository: Path) -> None:
    Path("data").mkdir()
    Path("params.yaml").write_text("training: {epochs: 2, rank: 8}\n")
    Path("data/pairs.jsonl").write_text('{"n": 1}\n{"n": 2}\n{"n": 3}\n')
    Path("data/pairs.csv").write_text('q,a\none,"1\n1"\n')
    Path("data/old.md").write_text("a\nb\n")
    snapshot.take()
    Path("params.yaml").write_text("training: {epochs: 3}\n")
    Path("data/pairs.jsonl").write_text('{"n": 3}\n{"n": 1}\n{"n": 4}\n{"n": 5}\n')
    Path("data/pairs.csv").write_text('q,a\none,"1\n1"\ntwo,"2\n2\n2"\n')
    Path("data/old.md").unlink()
    Path("dvc.lock").write_text("x\n")
    assert snapshot.take().notes == [
        "params.yaml: training.epochs 2 → 3",
        "params.yaml: training.rank 8 → unset",
        "data/old.md removed (+0 -2 lines)",
        "data/pairs.csv changed (+1 -0 rows)",
        "data/pairs.jsonl changed (+2 -1 rows)",
    ]


@given(st.lists(st.integers(0, 5), max_size=8), st.lists(st.integers(0, 5), max_size=8))
def test_rows_are_counted_as_multisets(old: list[int], new: list[int]) -> None:
    def count(rows: list[int]) -> bytes:
        return "".join(f'{{"n": {n}}}\n' for n in rows).encode()

    (told,) = changes._tell("x.jsonl", count(old), count(new))
    added = sum(max(0, new.count(n) - old.count(n)) for n in range(6))
    removed = sum(max(0, old.count(n) - new.count(n)) for n in range(6))
    assert f"(+{added} -{removed} rows)" in told


def test_a_run_is_found_by_its_beginning_or_a_commit_of_it(repository: Path) -> None:
    Path("a").write_text("a\n")
    first = snapshot.take()
    Path("a").write_text("b\n")
    Path("dvc.lock").write_text("x\n")
    second = snapshot.seal(snapshot.take(), [])
    assert snapshot.find(first.run) == first
    assert snapshot.find(first.inputs[:10]) == first
    assert snapshot.find("latest") == second
    with pytest.raises(DataError, match=r"begins 2 snapshots.*name one of `freshtune data log`"):
        snapshot.find(first.run[:8])
    with pytest.raises(DataError, match="there is no snapshot `1999`"):
        snapshot.find("1999")


def test_outside_git_it_says_why_there_is_none(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert "not a git repository" in snapshot.unavailable()


def test_a_directory_that_git_ignores_has_none(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".gitignore").write_text("unpacked/\n")
    Path("unpacked").mkdir()
    Path("unpacked/params.yaml").write_text("a: 1\n")
    monkeypatch.chdir("unpacked")
    assert snapshot.unavailable() == "git ignores this directory"


def test_a_project_below_the_top_of_a_repository_is_snapshotted_alone(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("outside").write_text("x\n")
    Path("inner").mkdir()
    Path("inner/a").write_text("a\n")
    monkeypatch.chdir("inner")
    assert _content(snapshot.take().commit) == {"a": "a\n"}
    assert stat.S_ISREG(Path("a").stat().st_mode)
