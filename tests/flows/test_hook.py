"""The hooks in a real repository: git calls them, and a reindex runs in the background."""

import os
import subprocess
import time
from pathlib import Path

import pytest
from filelock import FileLock

from contracts import paths
from contracts.errors import DataError
from contracts.params import load_params
from flows.hook import LOG, fire, install, remove

WHO = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]


def git(*arguments: str) -> str:
    return subprocess.run(["git", *WHO, *arguments], check=True, capture_output=True, text=True).stdout


def commit(name: str, text: str) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text)
    git("add", "--all")
    git("commit", "--quiet", "-m", "x")


def test_hooks_are_written_once_and_removed_and_those_of_others_stay(mini: Path) -> None:
    written = install()
    assert sorted(path.name for path in written) == ["post-commit", "post-merge"]
    assert all(os.access(path, os.X_OK) for path in written)
    before = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in install()] == before
    assert remove() == written
    assert remove() == []
    own = Path(".git/hooks/post-merge")
    own.write_text("#!/bin/sh\necho mine\n")
    with pytest.raises(DataError, match=r"post-merge is a hook of somebody else .*before any `exec`:\n\(cd "):
        install()
    assert not Path(".git/hooks/post-commit").exists()
    assert remove() == []
    assert own.read_text() == "#!/bin/sh\necho mine\n"


def test_hooks_go_where_the_user_keeps_them(mini: Path) -> None:
    git("config", "core.hooksPath", "my hooks")
    assert [path.parent.name for path in install()] == ["my hooks"] * 2


def test_documents_elsewhere_cannot_be_watched(mini: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    Path("params.yaml").write_text(
        Path("params.yaml").read_text().replace("path: data/documents", f"path: {tmp_path}/elsewhere")
    )
    with pytest.raises(DataError, match=r"no document of params.yaml lies in this git repository"):
        install()


def test_a_commit_that_changes_no_document_starts_nothing(mini: Path) -> None:
    commit("data/documents/a.md", "A text.")
    commit("code.py", "x = 1")
    assert fire("post-commit") == "no document changed"


def test_one_hook_waits_and_a_second_leaves_the_work_to_it(mini: Path) -> None:
    commit("data/documents/a.md", "A text.")
    paths.STATE.mkdir(exist_ok=True)
    with FileLock(paths.STATE / "hook.lock"):
        assert fire("post-commit").startswith("another hook waits already")


@pytest.mark.slow
def test_a_commit_reindexes_what_it_changed_in_the_background(mini: Path) -> None:
    from retrieval.index import published_record

    Path("data/documents/a.md").unlink()
    install()
    commit("data/documents/rule.md", "# Rule\n\nA parcel waits 6 days.\n")
    assert not (LOG.is_file() and "generation" in LOG.read_text())  # git was not held up by it
    end = time.monotonic() + 600
    while not (LOG.is_file() and "generation 1" in LOG.read_text()):
        assert time.monotonic() < end, LOG.read_text() if LOG.is_file() else "no log"
        time.sleep(0.2)
    assert set(published_record(load_params().retrieval).records) == {"rule.md"}
    assert "Traceback" not in LOG.read_text()
