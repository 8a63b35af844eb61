import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.answers import Answer, Citation
from contracts.pairs import Question
from evaluation import metrics


def ask(category: str = "factual", text: str = "How much?", **more: object) -> Question:
    return Question.model_validate({"id": "q", "category": category, "question": text, "reference": "", **more})


def passage(document: str, text: str) -> Citation:
    return Citation(number=1, document=document, title="", heading="", start=0, end=len(text), text=text)


def said(text: str, sources: list[Citation] | None = None, cited: list[Citation] | None = None) -> Answer:
    return Answer(text=text, route="rag", sources=sources or [], citations=cited or [])


@pytest.mark.parametrize(
    ("fact", "text", "stated"),
    [
        ("€4.90", "It costs 4.90 EUR.", True),
        ("€1200", "That is 1,200 euros.", True),
        ("€5", "It takes 5 days.", False),
        ("14 days", "We keep it fourteen days.", True),
        ("14 days", "We keep it 14 working days.", False),
        ("5 days", "We keep it 15 days.", False),
        ("10%", "ten of them, 10 per cent", True),
        ("3 May", "From 3 May 2026 on.", True),
        ("2 parcels", "Up to 2 parcels.", True),
        ("2 parcels", "It takes 2 days.", False),
        ("Green Lane", "Take the green lane, please.", True),
        ("Green Lane", "Take the lane, it is green.", False),
        ("25 kg", "See source [25] kg", False),
    ],
)
def test_a_fact_is_recalled_by_value_and_unit_or_by_its_words(fact: str, text: str, stated: bool) -> None:
    assert metrics.fact_recall(ask(facts=[fact]), said(text)) == float(stated)


def test_fact_recall_is_a_share_and_none_without_facts() -> None:
    assert metrics.fact_recall(ask(facts=["€5", "14 days"]), said("€5 it is")) == 0.5
    assert metrics.fact_recall(ask("behaviour"), said("€5 it is")) is None


def test_numbers_are_grounded_in_passages_or_question_only() -> None:
    shown = [passage("a", "A parcel costs €4.90 and is kept 14 days; 3 large boxes fit.")]
    question = ask(text="I have 2 parcels")
    assert metrics.grounded_numbers(question, said("It costs €4.90.", shown)) == 1.0
    assert metrics.grounded_numbers(question, said("It costs €4.90 for 10 days.", shown)) == 0.5
    assert metrics.grounded_numbers(question, said("It costs €14.", shown)) == 0.0
    assert metrics.grounded_numbers(question, said("Your 2 parcels, and 3 boxes.", shown)) == 1.0
    assert metrics.grounded_numbers(question, said("It costs €4.90.")) == 0.0


def test_citation_marks_and_list_marks_are_no_numbers() -> None:
    assert metrics.grounded_numbers(ask(), said("Yes [2].\n1. Open it.\n2) Send it.")) is None
    assert metrics.overlap(ask(reference="yes"), said("Yes [2].")) == 1.0


def test_citations_must_name_supporting_documents_only() -> None:
    good, bad = passage("a", "x"), passage("b", "y")
    question = ask(documents=["a", "c"])
    assert metrics.citation_correct(question, said("", [good, bad], [good])) == 1.0
    assert metrics.citation_correct(question, said("", [good, bad], [good, bad])) == 0.0
    assert metrics.citation_correct(question, said("", [good, bad])) == 0.0
    assert metrics.citation_correct(ask(), said("", [good], [good])) is None


def test_retrieval_recall_is_none_for_arms_without_passages() -> None:
    question = ask(documents=["a"])
    assert metrics.retrieval_recall(question, said("")) is None
    assert metrics.retrieval_recall(question, said("", [passage("b", "")])) == 0.0
    assert metrics.retrieval_recall(question, said("", [passage("b", ""), passage("a", "")])) == 1.0


def test_format_must_match_in_full_and_none_asks_for_none() -> None:
    assert metrics.follows_format(said("  Yes.\n"), r"Yes\.") == 1.0
    assert metrics.follows_format(said("Yes. And more"), r"Yes\.") == 0.0
    assert metrics.follows_format(said("anything"), "") is None


@pytest.mark.parametrize(
    ("category", "text", "success"),
    [
        ("factual", "€5", 1.0),
        ("factual", "OK: soon", 0.0),
        ("both", "OK: €5", 1.0),
        ("both", "€5", 0.0),
        ("both", "OK: soon", 0.0),
        ("behaviour", "OK: soon", 1.0),
        ("behaviour", "OK: in 9 days", 0.0),
        ("behaviour", "soon", 0.0),
    ],
)
def test_success_is_what_the_category_asks_for(category: str, text: str, success: float) -> None:
    facts = [] if category == "behaviour" else ["€5"]
    assert metrics.task_success(ask(category, facts=facts), said(text), "OK: .*") == success


def test_an_empty_answer_is_no_behaviour_even_without_a_format() -> None:
    assert metrics.task_success(ask("behaviour"), said(" "), "") == 0.0
    assert metrics.task_success(ask("behaviour"), said("Gladly."), "") == 1.0


def test_overlap_ignores_case_articles_and_punctuation() -> None:
    assert metrics.overlap(ask(reference="The parcel is late"), said("parcel is: LATE!")) == 1.0
    assert metrics.overlap(ask(reference="one two"), said("two three")) == 0.5
    assert metrics.overlap(ask(reference="one"), said("")) == 0.0


@given(st.text(), st.text(), st.lists(st.text(min_size=1), max_size=3))
def test_every_metric_is_a_share_or_none(text: str, shown: str, facts: list[str]) -> None:
    question, answer = ask("both", text=shown, facts=facts, reference=shown), said(text, [passage("a", shown)])
    scores = metrics.score(question, answer, re.escape(shown))
    assert all(value is None or 0 <= value <= 1 for value in scores.values())


@given(st.text())
def test_an_answer_that_repeats_its_passage_is_grounded_and_overlaps_fully(text: str) -> None:
    assert metrics.grounded_numbers(ask(), said(text, [passage("a", text)])) in (None, 1.0)
    assert metrics.overlap(ask(reference=text), said(text)) in (0.0, 1.0)
