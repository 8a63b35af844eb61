"""Near duplicates: what is found is proved, and a crowd hides nothing."""

import random
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.validation import measure, write_pairs
from validation.similar import GRAM, near_pairs
from validation.tokens import load_tokenizer

WORDS = st.sampled_from(["parcel", "parcl", "letter", "where", "is", "my", "the", "to", "send", "sned", "é", "?"])
TEXTS = st.lists(st.lists(WORDS, max_size=8).map(" ".join), max_size=4, unique=True)


def similarity(first: str, second: str) -> float:
    one, other = ({f" {t} ".ljust(GRAM)[i : i + GRAM] for i in range(max(1, len(t) - 1))} for t in (first, second))
    return len(one & other) / len(one | other)


@given(texts=TEXTS)
def test_a_few_texts_are_compared_as_if_with_each_other(texts: list[str]) -> None:
    found = near_pairs(texts, 0.9)
    told = set(zip(found["left"], found["right"], strict=True))
    assert told == {pair for pair in combinations(texts, 2) if similarity(*pair) >= 0.9}


def test_a_typo_is_found_in_a_crowd_from_one_template() -> None:
    draw = random.Random(5)
    places = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(200)]
    crowd = [
        f"how do i send a parcel from the locker in {draw.choice(places)} to the office in {draw.choice(places)}"
        for _ in range(3000)
    ]
    crowd = list(dict.fromkeys(crowd))
    typos = {text: text.replace("parcel", "parcle") for text in crowd[::20]}
    found = near_pairs([*crowd, *typos.values()], 0.8)
    assert typos.items() <= set(zip(found["left"], found["right"], strict=True))


@pytest.mark.slow
def test_planted_defects_are_caught_and_rules_written_row_by_row_find_the_same(
    tmp_path: Path, word_tokenizer: Path
) -> None:
    path = tmp_path / "pairs.jsonl"
    planted = write_pairs(path, 3000)
    found = measure(path, 3000, load_tokenizer(word_tokenizer), planted, row_by_row=True)
    assert set(found.planted_caught.values()) == {1.0}
    assert (found.wrongly, found.differing) == (0, [])
