"""The past of documents out of real git repositories, and what an audit makes of it."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from contracts import paths
from contracts.errors import DataError, InputError
from contracts.files import read_json
from contracts.params import GitSource, Params
from contracts.verdicts import AuditVerdict
from retrieval.audit import audit_parts, refresh_for
from retrieval.audit_report import plot, print_audit, write_plot
from retrieval.git_history import git_revisions, repository_of
from retrieval.history import Revision, replay, write_history
from retrieval.pasts import of_folder, of_project
from retrieval.stages import audit as audit_stage

MOST = 1_000_000
PRICES = "# Prices\n\n## Parcels\n\nA small parcel costs €{}.\n\n## Letters\n\nA letter takes 2 days.\n"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A function that commits files (None deletes one) to a repository, the current directory, at a date."""
    root = tmp_path / "repository"
    root.mkdir()
    monkeypatch.chdir(root)
    git("init", "--quiet", "-b", "main")

    def commit(date: str, files: dict[str, str | bytes | None], moved: dict[str, str] | None = None) -> Path:
        for old, new in (moved or {}).items():
            Path(new).parent.mkdir(parents=True, exist_ok=True)
            Path(old).rename(new)
        for name, text in files.items():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                Path(name).unlink()
            else:
                Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
        git("add", "--all")
        git("commit", "--quiet", "--allow-empty", "-m", "x", date=f"{date}T12:00:00+00:00")
        return root

    return commit


def git(*arguments: str, date: str = "") -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
    dates = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date} if date else {}
    subprocess.run(["git", *who, *arguments], check=True, capture_output=True, env=os.environ | dates)


def revisions(path: str = "docs", glob: str = "**/*.md", prefix: str = "") -> list[Revision]:
    source = GitSource(kind="git", name="law", repository=".", path=path, glob=[glob])
    return list(git_revisions(source, MOST, prefix))


def test_each_commit_of_the_folder_is_a_revision_and_the_last_of_all_ends_the_time(repository):
    repository("2026-01-01", {"docs/a b.md": "one", "docs/x.png": b"\x89", "other.md": "elsewhere"})
    repository("2026-02-01", {"docs/a b.md": "two", "docs/deep/b.md": "# B\n\nLong enough to be known again.\n"})
    repository("2026-03-01", {"docs/a b.md": None}, moved={"docs/deep/b.md": "docs/ü.md"})
    repository("2026-04-01", {"other.md": "moved on"})
    found = revisions(prefix="law/")
    moved = "# B\n\nLong enough to be known again.\n"
    assert [r.files for r in found] == [
        {"law/a b.md": "one"},
        {"law/a b.md": "two", "law/deep/b.md": moved},
        {"law/ü.md": moved},
        {"law/ü.md": moved},
    ]
    assert [r.renamed for r in found] == [{}, {}, {"law/ü.md": "law/deep/b.md"}, {}]
    assert [r.date.month for r in found] == [1, 2, 3, 4]


def test_a_merge_counts_when_it_reached_the_branch(repository):
    repository("2026-01-01", {"docs/a.md": "one"})
    git("checkout", "--quiet", "-b", "side")
    repository("2026-02-01", {"docs/a.md": "two"})
    git("checkout", "--quiet", "main")
    git("merge", "--quiet", "--no-ff", "side", "-m", "merge", date="2026-05-01T12:00:00+00:00")
    assert [(r.date.month, r.files["a.md"]) for r in revisions()] == [(1, "one"), (5, "two"), (5, "two")]


def test_two_documents_that_change_places_keep_their_pasts(repository):
    first, second = "A long text about parcels.\n" * 9, "Quite another one, about letters.\n" * 9
    repository("2026-01-01", {"docs/a.md": first, "docs/b.md": second})
    repository("2026-02-01", {"docs/a.md": second, "docs/b.md": first})
    assert revisions()[1].files == {"a.md": second, "b.md": first}
    assert revisions()[1].renamed == {}  # git calls both of them edited
    repository("2026-03-01", {"docs/a.md": None}, moved={"docs/b.md": "docs/c.md"})
    repository("2026-04-01", {}, moved={"docs/c.md": "docs/a.md"})
    assert [r.renamed for r in revisions()[2:]] == [{"c.md": "b.md"}, {"a.md": "c.md"}, {}]
    assert revisions()[-1].files == {"a.md": first}


def test_links_are_no_documents_and_what_cannot_be_read_still_is_another_version(repository):
    root = repository("2026-01-01", {"docs/a.md": b"\xff\xfe", "docs/b.html": "<h1>Fees</h1><p>A fee of 4."})
    (root / "docs/link.md").symlink_to("a.md")
    repository("2026-02-01", {"docs/a.md": "now text"})
    first, second, _ = revisions(glob="**/*")
    assert first.files["b.html"] == "# Fees\n\nA fee of 4."
    assert "a.md" in first.files
    assert first.files["a.md"] != second.files["a.md"] == "now text"
    assert "link.md" not in second.files


def test_a_folder_without_commits_has_no_repository(repository, tmp_path):
    repository("2026-01-01", {"docs/a.md": "one"})
    Path("new").mkdir()
    (tmp_path / "outside").mkdir()
    assert repository_of(Path("new"), ["*.md"]) is None
    assert repository_of(tmp_path / "outside", ["*.md"]) is None
    found = repository_of(Path("docs"), ["*.md"])
    assert found is not None
    assert found.path == "docs"


def test_an_unknown_ref_is_named(repository):
    repository("2026-01-01", {"docs/a.md": "one"})
    source = GitSource(kind="git", name="law", repository=".", ref="nowhere")
    with pytest.raises(DataError, match=r"source law: git log failed in \. at nowhere"):
        list(git_revisions(source, MOST))


TEXTS = st.dictionaries(st.sampled_from("abc"), st.text(max_size=4), max_size=3)


@given(st.lists(TEXTS, max_size=6))
def test_a_saved_history_replays_to_the_same_trees(tmp_path_factory, trees):
    made = [Revision(datetime(2026, 1, 1 + i, tzinfo=UTC), files, {}) for i, files in enumerate(trees)]
    path = tmp_path_factory.mktemp("h") / "h.jsonl"
    assert write_history(path, made) == len(made)
    assert [(r.date, r.files) for r in replay(path)] == [(r.date, r.files) for r in made]


def test_a_rename_survives_being_saved(repository, tmp_path):
    repository("2026-01-01", {"docs/a.md": "A text that is long enough to be known again."})
    repository("2026-02-01", {}, moved={"docs/a.md": "docs/b.md"})
    write_history(tmp_path / "h.jsonl", revisions())
    assert [r.renamed for r in replay(tmp_path / "h.jsonl")] == [{}, {"b.md": "a.md"}, {}]


def test_documents_and_sections_are_judged_by_git(repository):
    repository("2024-01-01", {"docs/prices.md": PRICES.format(4), "docs/about.md": "# About\n\nWe carry parcels.\n"})
    for month in range(2, 8):
        repository(f"2026-{month:02}-01", {"docs/prices.md": PRICES.format(4 + month)})
    verdict = audit_parts(of_folder(Path("docs"), "**/*.md", 20), 6)
    about, prices = verdict.documents
    assert (about.document, about.volatile, about.changes) == ("about.md", False, 0)
    assert (prices.volatile, prices.changes, prices.kinds, prices.facts_moved) == (True, 6, {"money": 12}, 12)
    parcels, letters = prices.sections
    assert (parcels.heading, parcels.volatile, parcels.changes) == ("Prices > Parcels", True, 6)
    assert (letters.heading, letters.volatile, letters.changes, letters.kinds) == ("Prices > Letters", False, 0, {})
    [source] = verdict.sources
    assert (source.history, source.documents, source.volatile) == ("git", 2, 1)
    assert (source.since, source.until, source.refresh) == ("2024-01-01", "2026-07-01", "15 5 * * 1")
    assert source.days_between_changes == pytest.approx(912 / 6, abs=0.1)


def test_a_section_under_another_heading_keeps_its_past(repository):
    repository("2024-01-01", {"docs/p.md": PRICES.format(4)})
    repository("2024-05-01", {"docs/p.md": PRICES.format(5)})
    repository("2026-01-01", {"docs/p.md": PRICES.format(5).replace("## Parcels", "## Small parcels")})
    parcels = audit_parts(of_folder(Path("docs"), "**/*.md", 20), 6).documents[0].sections[0]
    assert (parcels.heading, parcels.changed_at) == ("Prices > Small parcels", ["2024-05-01"])


def test_an_edit_that_was_never_committed_is_volatile(repository):
    repository("2024-01-01", {"docs/a.md": "old"})
    repository("2026-01-01", {"x": "y"})
    Path("docs/a.md").write_text("edited")
    assert "not the last one" in audit_parts(of_folder(Path("docs"), "*.md", 20), 6).documents[0].reason


@pytest.mark.parametrize(
    ("days", "cron"),
    [(0.1, "15 * * * *"), (9.9, "15 * * * *"), (10, "15 5 * * *"), (70, "15 5 * * 1"), (300, "15 5 1 * *")],
)
def test_the_rarest_schedule_that_leaves_an_index_behind_for_a_twentieth_of_the_time(days, cron):
    assert refresh_for(days) == cron


@pytest.fixture
def project(repository, make_params) -> Callable[..., Params]:
    """A project whose documents are in git, with these sources."""

    def make(*sources: dict[str, Any], **documents: Any) -> Params:
        params = make_params(documents=documents)
        return Params.model_validate(params.model_dump() | {"sources": list(sources)})

    return make


def test_a_git_source_has_an_audit_of_its_own_and_a_table_has_none(repository, project):
    repository("2024-01-01", {"docs/a.md": "# A\n\nText.\n", "law/b.md": "# B\n\nText.\n"})
    repository("2026-01-01", {"t.jsonl": json.dumps({"id": "1", "text": "A row."}) + "\n"})
    params = project(
        {"kind": "git", "name": "law", "repository": ".", "path": "law"},
        {"kind": "table", "name": "kb", "path": "t.jsonl", "id": "id", "text": "text"},
    )
    verdict = audit_parts(of_project(params), 6)
    assert {d.document: d.volatile for d in verdict.documents} == {"a.md": False, "kb/1": True, "law/b.md": False}
    assert [(s.source, s.history, s.refresh) for s in verdict.sources] == [
        ("documents", "git", "15 5 1 * *"),
        ("law", "git", "15 5 1 * *"),
        ("kb", "none", None),
    ]
    assert [entry.document for entry in audit_parts(of_project(params, ["law"]), 6).documents] == ["law/b.md"]


def test_the_stage_keeps_to_the_stored_history_and_says_the_same_twice(repository, project):
    repository("2024-01-01", {"docs/a.md": "# A\n\nText.\n"})
    Path("h.jsonl").write_text("")
    params = project(history="h.jsonl")
    audit_stage(params)
    first = paths.AUDIT.read_bytes()
    repository("2026-01-01", {"docs/b.md": "# B\n"})
    Path("docs/b.md").unlink()
    audit_stage(params)
    assert paths.AUDIT.read_bytes() == first
    verdict = AuditVerdict.model_validate(read_json(paths.AUDIT))
    assert (verdict.documents[0].volatile, verdict.sources[0].history) == (True, "none")


@pytest.mark.slow
def test_a_folder_under_dvc_is_judged_by_its_pointers(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "dvc"))

    def dvc(*arguments: str) -> None:
        subprocess.run([sys.executable, "-m", "dvc", *arguments, "--quiet"], check=True, capture_output=True)

    repository("2023-01-01", {"x": "y"})
    dvc("init")
    for month, price in ((1, 4), (2, 5), (3, 6)):
        Path("docs").mkdir(exist_ok=True)
        Path("docs/prices.md").write_text(PRICES.format(price))
        dvc("add", "docs")
        repository(f"2026-0{month}-01", {})

    def prices() -> list[str]:
        [part] = of_folder(Path("docs"), "**/*.md", 20)
        assert part.history == "dvc"
        return [revision.files["prices.md"] for revision in part.revisions]

    assert prices() == [PRICES.format(price) for price in (4, 5, 6, 6)]
    shown = subprocess.run(["git", "show", "HEAD~1:docs.dvc"], capture_output=True, check=True).stdout
    lost = yaml.safe_load(shown)["outs"][0]["md5"]
    (Path(".dvc/cache/files/md5") / lost[:2] / lost[2:]).unlink()
    assert prices() == [PRICES.format(6)] * 2  # a change might lie in the gap: what was before it is not told


def verdict_of(repository) -> AuditVerdict:
    repository("2024-01-01", {"docs/prices.md": PRICES.format(4), "docs/a<b>.md": "# About\n\nWe carry parcels.\n"})
    for month in range(2, 6):
        repository(f"2026-{month:02}-01", {"docs/prices.md": PRICES.format(4 + month)})
    return audit_parts(of_folder(Path("docs"), "**/*.md", 20), 6)


def test_the_table_says_what_moves_and_what_may_be_taught(repository):
    console = Console(width=160, record=True, file=io.StringIO())
    verdict = verdict_of(repository)
    print_audit(verdict, console)
    said = console.export_text()
    assert "retrieve on" in said
    assert "prices.md" in said
    assert "Prices > Parcels" in said
    assert "Letters" not in said
    assert "8 money" in said
    assert "1 volatile: retrieve them, and teach none of their 2 facts. 1 stable: what they say may be taught." in said
    assert "a<b>.md" not in said
    print_audit(verdict, console, every=True)
    assert "a<b>.md" in console.export_text()


def test_the_plot_stands_alone_and_escapes_what_it_names(repository, tmp_path):
    verdict = verdict_of(repository)
    drawn = plot(verdict)
    tree = ElementTree.fromstring(drawn)
    marks = [e for e in tree.iter() if e.tag.endswith("circle")]
    assert len(marks) == 4 + 4  # the document's changes, and those of its one section that changed
    assert "a<b>" not in drawn
    for name in ("audit.svg", "audit.html"):
        write_plot(verdict, tmp_path / name)
        text = (tmp_path / name).read_text()
        assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
        assert "<style>text{font" in text
    with pytest.raises(InputError, match=r"written as \.svg or \.html"):
        write_plot(verdict, tmp_path / "audit.png")
