import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import DataError
from evaluation.questions import read_questions, spread

GOOD = {"id": "q1", "category": "factual", "question": "Price?", "reference": "€5", "facts": ["€5"]}


def test_every_broken_line_is_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "golden.jsonl"
    lines = [
        json.dumps(GOOD),
        "{broken",
        json.dumps({**GOOD, "id": "q3", "category": "style"}),
        json.dumps({**GOOD, "question": "Again?"}),
        json.dumps({**GOOD, "id": "q5", "facts": []}),
        json.dumps({**GOOD, "id": "q6", "reference": " ", "facts": [""]}),
        json.dumps({**GOOD, "id": "q7", "anser": 1}),
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_questions(path)
    message = str(caught.value)
    for line in range(2, 8):
        assert f"golden.jsonl:{line} " in message
    assert "golden.jsonl:1 " not in message
    assert "7 problems" in message
    assert "repeats the id `q1` of line 1" in message


def test_missing_and_empty_files_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing"):
        read_questions(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(DataError, match="no golden question"):
        read_questions(tmp_path / "empty.jsonl")


@given(st.lists(st.integers()), st.integers(1, 50))
def test_spread_keeps_order_and_count(items: list[int], most: int) -> None:
    kept = spread(list(enumerate(items)), most)
    assert len(kept) == min(len(items), most)
    assert kept == sorted(set(kept))


def test_spread_reaches_every_category_of_a_sorted_file() -> None:
    assert spread(["factual"] * 20 + ["behaviour"] * 20 + ["both"] * 20, 3) == ["factual", "behaviour", "both"]
