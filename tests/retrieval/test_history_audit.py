"""Replaying a history, and what it says about each document."""

import json
import lzma
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import paths
from contracts.documents import Document
from contracts.errors import DataError
from contracts.files import read_json
from contracts.verdicts import AuditVerdict
from retrieval.audit import audit
from retrieval.history import replay
from retrieval.stages import audit as audit_stage

PRICE = "---\nversion: {v}\nupdated_at: {d}\n---\n\n# Prices\n\n## Parcels\n\nA small parcel costs €{p}.\n"


def write_history(path: Path, commits: list[tuple[str, list[tuple]]]) -> Path:
    """Each commit: (date, ops); an op: (letter, path, text) or ("R", path, text, old path) or ("D", path)."""
    rows: list[dict] = []
    for date, ops in commits:
        entries = []
        for letter, name, *rest in ops:
            entry = {"op": letter, "path": name}
            if rest:
                entry["blob"] = f"sha{len(rows)}"
                rows.append({"type": "blob", "sha": entry["blob"], "text": rest[0]})
            if letter == "R":
                entry["old_path"] = rest[1]
            entries.append(entry)
        rows.append({"type": "commit", "commit": "c", "date": date, "subject": "s", "ops": entries})
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(lzma.compress(text.encode()) if path.suffix == ".xz" else text.encode())
    return path


def page(name: str, raw: str) -> Document:
    return Document(id=name, text=raw.split("---\n\n")[-1].strip(), uri=name, title=name)


def judge(tmp_path, commits, name, raw, months=6.0):
    verdict = audit([page(name, raw)], write_history(tmp_path / "h.jsonl", commits), months)
    return verdict.documents[0]


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.xz"])
def test_replay_gives_the_tree_after_each_commit(tmp_path, suffix):
    history = write_history(
        tmp_path / f"h.{suffix}",
        [
            ("2026-01-01T00:00:00+00:00", [("A", "a", "1"), ("A", "b", "2")]),
            ("2026-02-01T00:00:00+00:00", [("M", "a", "3"), ("R", "c", "2x", "b")]),
            ("2026-03-01T00:00:00+00:00", [("D", "a")]),
        ],
    )
    revisions = list(replay(history))
    assert [r.files for r in revisions] == [{"a": "1", "b": "2"}, {"a": "3", "c": "2x"}, {"c": "2x"}]
    assert [r.renamed for r in revisions] == [{}, {"c": "b"}, {}]
    assert [r.date.month for r in revisions] == [1, 2, 3]


PATHS = st.sampled_from("abcd")


@given(st.lists(st.tuples(PATHS, PATHS, st.sampled_from("wDR"), st.text(max_size=5)), max_size=30))
def test_replay_equals_a_plain_dictionary(tmp_path_factory, moves):
    tree: dict[str, str] = {}
    commits, trees = [], []
    for first, second, kind, text in moves:
        if kind == "w":
            commits.append(("2026-01-01", [("M" if first in tree else "A", first, text)]))
            tree[first] = text
        elif first not in tree or (kind == "R" and first == second):
            continue
        elif kind == "D":
            commits.append(("2026-01-01", [("D", first)]))
            del tree[first]
        else:
            commits.append(("2026-01-01", [("R", second, text, first)]))
            del tree[first]
            tree[second] = text
        trees.append(dict(tree))
    history = write_history(
        tmp_path_factory.mktemp("h") / "h.jsonl", [(f"{date}T00:00:00Z", ops) for date, ops in commits]
    )
    assert [r.files for r in replay(history)] == trees


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"h\.jsonl:1 is not a JSON object"),
        ('{"type": "tag"}', r"h\.jsonl:1: `type` is 'tag'"),
        ('{"type": "blob", "sha": "x"}', r"h\.jsonl:1: `text` of this blob is wrong"),
        ('{"type": "commit", "date": "soon", "ops": []}', r"h\.jsonl:1: `date` of this commit is wrong"),
        ('{"type": "commit", "date": "2026-01-01T00:00:00Z", "ops": [{"op": "X", "path": "a"}]}', r":1: `ops\.0\.op`"),
        (
            '{"type": "commit", "date": "2026-01-01T00:00:00Z", "ops": [{"op": "D", "path": "a"}]}',
            "does not exist at that",
        ),
        (
            '{"type": "commit", "date": "2026-01-01T00:00:00Z", "ops": [{"op": "A", "path": "a", "blob": "n"}]}',
            "names blob 'n'",
        ),
    ],
)
def test_a_broken_line_is_named(tmp_path, line, message):
    (tmp_path / "h.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=message):
        list(replay(tmp_path / "h.jsonl"))


def test_a_cut_off_archive_is_named(tmp_path):
    (tmp_path / "h.jsonl.xz").write_bytes(lzma.compress(b'{"type": "blob", "sha": "a", "text": "b"}\n' * 50)[:-20])
    with pytest.raises(DataError, match=r"is not a whole \.xz file"):
        list(replay(tmp_path / "h.jsonl.xz"))


def test_a_document_that_never_changed_for_long_is_stable(tmp_path):
    raw = PRICE.format(v=1, d="x", p=4)
    entry = judge(tmp_path, [("2024-01-01T00:00:00Z", [("A", "p", raw)]), ("2026-01-01T00:00:00Z", [])], "p", raw)
    assert not entry.volatile
    assert (entry.changes, entry.facts_moved) == (0, 0)


def test_often_changed_is_volatile_and_its_moved_facts_are_counted(tmp_path):
    texts = [PRICE.format(v=n, d="x", p=4 + n) for n in range(5)]
    commits = [(f"2024-0{n + 1}-01T00:00:00Z", [("M" if n else "A", "p", t)]) for n, t in enumerate(texts)]
    entry = judge(tmp_path, [*commits, ("2025-01-01T00:00:00Z", [])], "p", texts[-1])
    assert entry.volatile
    assert entry.changes == 4
    assert entry.facts_moved == 8  # each change: one price vanished, one appeared
    assert entry.changes_per_month == pytest.approx(4 / 12, abs=0.01)
    assert entry.changed_at == ["2024-02-01", "2024-03-01", "2024-04-01", "2024-05-01"]
    assert "every 3.0 months" in entry.reason


def test_a_recent_change_and_a_young_document_are_volatile(tmp_path):
    old, new = PRICE.format(v=1, d="x", p=4), PRICE.format(v=2, d="y", p=5)
    commits = [
        ("2020-01-01T00:00:00Z", [("A", "p", old)]),
        ("2026-01-01T00:00:00Z", [("M", "p", new), ("A", "q", new)]),
    ]
    late = [*commits, ("2026-03-01T00:00:00Z", [])]
    assert "its present text stood for 1.9 months" in judge(tmp_path, late, "p", new).reason
    assert judge(tmp_path, late, "q", new).volatile
    assert not judge(tmp_path, late, "p", new, months=1.5).volatile


def test_a_bumped_version_or_date_is_no_change(tmp_path):
    old, new = PRICE.format(v=1, d="x", p=4), PRICE.format(v=2, d="y", p=4)
    commits = [("2024-01-01T00:00:00Z", [("A", "p", old)]), ("2026-01-01T00:00:00Z", [("M", "p", new)])]
    assert judge(tmp_path, commits, "p", new).changes == 0


def test_a_rename_keeps_the_past(tmp_path):
    old, new = PRICE.format(v=1, d="x", p=4), PRICE.format(v=2, d="y", p=5)
    commits = [
        ("2024-01-01T00:00:00Z", [("A", "old", old)]),
        ("2024-06-01T00:00:00Z", [("R", "new", new, "old")]),
        ("2026-01-01T00:00:00Z", []),
    ]
    entry = judge(tmp_path, commits, "new", new)
    assert (entry.changes, entry.changed_at) == (1, ["2024-06-01"])


def test_an_edit_that_the_history_does_not_know_is_volatile(tmp_path):
    raw = PRICE.format(v=1, d="x", p=4)
    commits = [("2024-01-01T00:00:00Z", [("A", "p", raw)]), ("2026-01-01T00:00:00Z", [])]
    assert "not the last one in the history" in judge(tmp_path, commits, "p", PRICE.format(v=1, d="x", p=9)).reason


def test_unknown_documents_and_no_history_are_volatile_and_say_so(tmp_path):
    raw = PRICE.format(v=1, d="x", p=4)
    assert "the history does not know it" in judge(tmp_path, [("2024-01-01T00:00:00Z", [])], "p", raw).reason
    verdict = audit([page("p", raw)], None, 6)
    assert verdict.documents[0].volatile
    assert verdict.documents[0].reason.startswith("no history is given")
    assert verdict.since is None


def test_facts_of_volatile_documents_carry_their_subject():
    (fact,) = audit([page("p", PRICE.format(v=1, d="x", p="4.20"))], None, 6).facts
    assert (fact.kind, fact.value, fact.unit) == ("money", "4.2", "€")
    assert fact.heading == "Prices > Parcels"
    assert {"small", "parcel", "cost", "price"} <= set(fact.subject)


def test_the_stage_writes_the_same_verdict_twice(docs, make_params):
    history = write_history(
        Path("h.jsonl"), [("2024-01-01T00:00:00Z", [("A", "plans.md", (docs / "plans.md").read_text())])]
    )
    params = make_params(documents={"history": str(history)})
    audit_stage(params)
    first = paths.AUDIT.read_bytes()
    audit_stage(params)
    assert paths.AUDIT.read_bytes() == first
    assert len(AuditVerdict.model_validate(read_json(paths.AUDIT)).documents) == 4


def test_a_real_history_replays():
    history = Path(__file__).parents[2].parent / "shared/data/policy_history/site_policy_history.jsonl.xz"
    if not history.is_file():
        pytest.skip(f"{history} is not here: the real policy history cannot be replayed")
    revisions = list(replay(history))
    assert len(revisions) == 363
    assert len(revisions[-1].files) == 63
    verdict = audit([page("README.md", revisions[-1].files["README.md"])], history, 6)
    assert verdict.documents[0].changes > 0
