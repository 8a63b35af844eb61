"""Facts are read from running text the way the law needs them: kind, value and unit in one spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.facts import find_facts, sentences, subject_words


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("It costs €4.35.", ("money", "4.35", "€")),
        ("It costs 4.35 euros.", ("money", "4.35", "€")),
        ("It costs EUR 1,200 now.", ("money", "1200", "€")),
        ("Wait six days.", ("duration", "6", "day")),
        ("A 6-day wait.", ("duration", "6", "day")),
        ("Within 7 working days.", ("duration", "7", "working day")),
        ("Save 38% today.", ("percent", "38", "%")),
        ("Up to 17 kg.", ("measure", "17", "kg")),
        ("Open from 7:40.", ("time", "7:40", "")),
        ("Since 14 January 2025.", ("date", "14 January 2025", "")),
        ("Policy HP-204 applies.", ("identifier", "HP-204", "")),
        ("Make 1,200 requests.", ("count", "1200", "request")),
        ("It weighs 3.50 kg.", ("measure", "3.5", "kg")),
    ],
)
def test_a_fact_has_one_key_however_it_is_written(text: str, key: tuple[str, str, str]) -> None:
    assert [fact.key for fact in find_facts(text)] == [key]


def test_a_citation_is_no_fact() -> None:
    assert find_facts("It is so. [2][3]") == []


@given(st.text())
def test_offsets_point_at_the_fact(text: str) -> None:
    for fact in find_facts(text):
        assert text[fact.start : fact.end] == fact.text


@given(st.text())
def test_sentences_stand_where_they_say(text: str) -> None:
    for start, sentence in sentences(text):
        assert text[start : start + len(sentence)] == sentence


def test_a_decimal_point_ends_no_sentence() -> None:
    assert [s for _, s in sentences("It costs €4.35 now. Really.")] == ["It costs €4.35 now.", "Really."]


def test_subject_words_fold_the_plural_and_drop_the_rest() -> None:
    assert subject_words("The parcels wait in a locker") == {"parcel", "wait", "locker"}
