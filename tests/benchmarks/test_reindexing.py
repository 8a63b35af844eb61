"""The benchmarks of re-indexing see what they claim to see, and the small version of each holds."""

import json
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import kill, replay, scale, trees
from contracts.files import write_jsonl


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """Four commits: two documents; one edited; one renamed and one added; one deleted."""
    texts = {"1": "# A\n\nFirst text.\n", "2": "# B\n\nSecond text.\n", "3": "# A\n\nFirst text, edited.\n"}
    commits: list[list[dict[str, str]]] = [
        [{"op": "A", "path": "a.md", "blob": "1"}, {"op": "A", "path": "b.md", "blob": "2"}],
        [{"op": "M", "path": "a.md", "blob": "3"}],
        [{"op": "R", "path": "c.md", "old_path": "b.md", "blob": "2"}, {"op": "A", "path": "d.md", "blob": "1"}],
        [{"op": "D", "path": "a.md"}],
    ]
    rows: list[dict[str, object]] = [{"type": "blob", "sha": sha, "text": text} for sha, text in texts.items()]
    rows += [{"type": "commit", "date": "2026-01-01T00:00:00+00:00", "ops": ops} for ops in commits]
    write_jsonl(tmp_path / "history.jsonl", rows)
    return tmp_path / "history.jsonl"


def test_every_kind_of_fault_is_counted_as_what_it_is() -> None:
    faults = trees.Faults()
    wanted = Counter({("a", "new"): 1, ("b", "x"): 1})
    faults.judge(wanted, Counter({("a", "old"): 1, ("b", "x"): 2, ("gone", "y"): 1}))
    assert (faults.lost, faults.stale, faults.duplicated, faults.orphaned) == (1, 1, 1, 1)


def test_the_replay_finds_the_index_true_at_every_look(
    history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = replay.freshtune(history, None, True, {})
    assert (result.commits, result.distinct_texts, result.embeddings) == (4, 3, 3)
    assert result.faults == trees.Faults()
    assert result.looks >= 4 * 4
    assert replay.failure(result, []) == ""


@pytest.mark.parametrize("reason", ["embeddings", "time"])
def test_the_check_holds_us_to_the_figures(reason: str) -> None:
    own = replay.Result("own", distinct_texts=100, embeddings=103 if reason == "embeddings" else 100, seconds=6)
    assert ("1.030 embeddings" if reason == "embeddings" else "6.0 s, more than 0.5") in replay.failure(
        own, [replay.Result("peer", seconds=10)]
    )


def test_a_corpus_of_scale_has_one_chunk_a_section_and_all_differ(tmp_path: Path) -> None:
    scale.write(tmp_path, range(3), 0)
    chunks = trees.cut(tmp_path, 200, trees.HashEmbedder())
    assert len(chunks) == len({chunk.text_hash for chunk in chunks}) == 3 * scale.PER_DOCUMENT


@pytest.mark.slow
def test_killed_writers_and_swaps_under_load_are_never_seen(capsys: pytest.CaptureFixture[str], history: Path) -> None:
    assert kill.main([str(history), "--kills", "3", "--swaps", "2", "--check"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["killed"]["kills"] == 3
    assert found["killed"]["answers"] > 0
    assert found["swapped"]["answers"] > 0
