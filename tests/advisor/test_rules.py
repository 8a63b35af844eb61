"""Every rule at both sides of its boundary, every verdict, and what must hold for any input."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.inputs import STYLES, Inputs
from advisor.rules import DEFAULT, HYBRID, RAG, TUNED, Thresholds, advise, flips
from contracts.verdicts import Flip

NEUTRAL = Inputs(queries=1000)
INPUTS = st.builds(
    Inputs,
    changes=st.none() | st.just(math.inf) | st.floats(min_value=0.01, max_value=1000),
    citations=st.booleans(),
    style=st.sampled_from(STYLES),
    examples=st.integers(min_value=0, max_value=2000),
    latency=st.none() | st.floats(min_value=0.001, max_value=10),
    queries=st.integers(min_value=0, max_value=10**7),
    measured_latency=st.none() | st.floats(min_value=0.001, max_value=10),
)


def verdict(**changes: object) -> str:
    return advise(replace(NEUTRAL, **changes)).recommendation


def test_nothing_decisive_is_the_safe_start() -> None:
    advice = advise(NEUTRAL)
    assert advice.recommendation == DEFAULT == "RAG (Default Safe Choice)"
    assert (advice.retrieve, advice.train, advice.warnings) == (False, False, ())


@pytest.mark.parametrize(
    ("days", "expected"), [(1 / 24, RAG), (1, RAG), (7, RAG), (365.25 / 12, RAG), (31, RAG), (31.01, DEFAULT), (91, DEFAULT),
                           (math.inf, DEFAULT), (None, RAG)]
)  # fmt: skip
def test_what_changes_monthly_or_more_often_is_retrieved(days: float | None, expected: str) -> None:
    assert verdict(changes=days) == expected


def test_citations_ask_for_retrieval() -> None:
    assert verdict(citations=True) == RAG


@pytest.mark.parametrize(("style", "expected"), [("low", DEFAULT), ("medium", DEFAULT), ("high", TUNED)])
def test_only_high_style_asks_for_training(style: str, expected: str) -> None:
    assert verdict(style=style, examples=100) == expected


@pytest.mark.parametrize(
    ("examples", "expected"), [(0, DEFAULT), (99, DEFAULT), (100, TUNED), (1000, TUNED), (1001, TUNED)]
)
def test_training_needs_100_examples(examples: int, expected: str) -> None:
    assert verdict(style="high", examples=examples) == expected


@pytest.mark.parametrize(
    ("latency", "expected"),
    [(0.05, TUNED), (math.nextafter(0.1, 0), TUNED), (0.1, DEFAULT), (2, DEFAULT), (None, DEFAULT)],
)
def test_under_100_ms_asks_for_training_without_retrieval(latency: float | None, expected: str) -> None:
    assert verdict(latency=latency, examples=100) == expected


def test_both_needs_make_a_hybrid() -> None:
    assert verdict(changes=7, style="high", examples=100) == HYBRID
    assert verdict(citations=True, style="high", examples=100) == HYBRID
    assert verdict(citations=True, style="high", examples=99) == RAG


@pytest.mark.parametrize(
    ("examples", "line"),
    [
        (100, "100 examples sufficient for LoRA"),
        (499, "499 examples sufficient for LoRA"),
        (500, "500 examples sufficient for LoRA, and at least the 500 that are preferred"),
        (1000, "1,000 examples sufficient for LoRA, and at least the 500 that are preferred"),
        (1001, "1,001 examples sufficient for LoRA; over 1,000 full fine-tuning is possible"),
    ],
)
def test_the_number_of_examples_is_judged(examples: int, line: str) -> None:
    assert advise(replace(NEUTRAL, style="high", examples=examples)).reasoning[-1] == line


@pytest.mark.parametrize("examples", [1, 40, 99])
def test_too_few_examples_are_warned_of(examples: int) -> None:
    warning = f"WARNING: {examples} examples is INSUFFICIENT for LoRA. Gathering more data recommended."
    assert warning in advise(replace(NEUTRAL, style="high", examples=examples)).warnings
    assert warning in advise(replace(NEUTRAL, examples=examples)).warnings


def test_few_shot_stands_in_until_there_are_enough() -> None:
    advice = advise(replace(NEUTRAL, style="high", examples=62))
    assert "Too few examples to fine-tune → few-shot examples in the prompt; 38 more for LoRA" in advice.reasoning
    assert advise(replace(NEUTRAL, style="high", examples=100)).warnings == ()


def test_retrieval_that_does_not_fit_is_a_conflict_that_is_told() -> None:
    advice = advise(replace(NEUTRAL, changes=7, citations=True, examples=200, latency=0.05))
    assert advice.recommendation == TUNED
    (warning,) = advice.warnings
    assert warning.startswith("CONFLICT: retrieval is needed (knowledge changes weekly, citations required)")
    assert "knows no fact that changes" in warning
    assert advise(replace(NEUTRAL, examples=200, latency=0.05)).warnings == ()


def test_without_examples_nothing_can_take_the_place_of_retrieval() -> None:
    needed = advise(replace(NEUTRAL, citations=True, examples=20, latency=0.05))
    assert needed.recommendation == RAG
    assert "RAG will be late" in needed.warnings[-1]
    unneeded = advise(replace(NEUTRAL, latency=0.05))
    assert unneeded.recommendation == DEFAULT
    assert unneeded.warnings[-1].startswith("CONFLICT: RAG does not fit")


@pytest.mark.parametrize(("measured", "expected"), [(0.04, HYBRID), (0.05, HYBRID), (0.06, TUNED), (None, TUNED)])
def test_a_measured_latency_overrules_the_published_bound(measured: float | None, expected: str) -> None:
    assert verdict(citations=True, examples=200, latency=0.05, measured_latency=measured) == expected


def test_a_projects_own_threshold_counts() -> None:
    few = replace(NEUTRAL, style="high", examples=20)
    assert advise(few, Thresholds(least=20, preferred=50)).recommendation == TUNED
    assert advise(few, Thresholds(least=21, preferred=50)).recommendation == DEFAULT


@given(INPUTS, st.integers(min_value=1, max_value=3000))
def test_more_examples_never_make_training_less_viable(inputs: Inputs, more: int) -> None:
    richer = replace(inputs, examples=inputs.examples + more)
    assert advise(richer).train >= advise(inputs).train


@given(INPUTS)
def test_a_verdict_is_its_two_halves_and_has_reasons(inputs: Inputs) -> None:
    advice = advise(inputs)
    assert (advice.recommendation in (HYBRID, RAG), advice.recommendation in (HYBRID, TUNED)) == (
        advice.retrieve,
        advice.train,
    )
    assert advice.reasoning
    assert not advice.train or inputs.examples >= 100


@given(INPUTS, st.floats(min_value=0.01, max_value=1))
def test_faster_change_never_drops_retrieval(inputs: Inputs, factor: float) -> None:
    if inputs.changes is not None:
        assert advise(replace(inputs, changes=inputs.changes * factor)).retrieve >= advise(inputs).retrieve


@given(INPUTS, st.none() | st.floats(min_value=0.001, max_value=10))
def test_a_measured_latency_never_decides_whether_to_train(inputs: Inputs, measured: float | None) -> None:
    assert advise(replace(inputs, measured_latency=measured)).train == advise(inputs).train


@given(INPUTS, st.integers(min_value=0, max_value=10**7))
def test_volume_never_decides(inputs: Inputs, queries: int) -> None:
    assert advise(replace(inputs, queries=queries)) == advise(inputs)


def flip(inputs: Inputs, name: str) -> Flip:
    return next(each for each in flips(inputs) if each.name == name)


WEEKLY = Inputs(changes=7, citations=False, style="high", examples=200, latency=2.0, queries=1000)


@pytest.mark.parametrize(
    ("inputs", "name", "change", "to"),
    [
        (WEEKLY, "knowledge changes", "if knowledge changed less than monthly", TUNED),
        (WEEKLY, "style requirements", "if style requirements were medium", RAG),
        (WEEKLY, "training data", "with fewer than 100 examples", RAG),
        (WEEKLY, "latency requirement", "if answers were due in under 100 ms", TUNED),
        (WEEKLY, "citations", "", ""),
        (WEEKLY, "monthly queries", "", ""),
        (replace(WEEKLY, examples=62), "training data", "with 38 more examples", HYBRID),
        (replace(WEEKLY, style="low"), "style requirements", "if style requirements were high", HYBRID),
        (replace(WEEKLY, latency=0.05), "latency requirement", "if 100 ms or more were allowed", HYBRID),
        (replace(WEEKLY, latency=0.05, measured_latency=0.06), "latency requirement", "if 60 ms were allowed", HYBRID),
        (NEUTRAL, "citations", "if citations were required", RAG),
        (NEUTRAL, "knowledge changes", "if knowledge changed monthly or more often", RAG),
        (NEUTRAL, "style requirements", "", ""),
    ],
)  # fmt: skip
def test_the_nearest_change_that_flips_it(inputs: Inputs, name: str, change: str, to: str) -> None:
    found = flip(inputs, name)
    assert (found.change, found.to) == (change, to)


@given(INPUTS)
def test_every_input_is_asked_and_a_flip_is_another_recommendation(inputs: Inputs) -> None:
    found = flips(inputs)
    names = [
        "knowledge changes",
        "citations",
        "style requirements",
        "latency requirement",
        "training data",
        "monthly queries",
    ]
    assert [each.name for each in found] == names
    assert advise(inputs).recommendation not in {each.to for each in found}


@given(INPUTS, st.integers(min_value=0, max_value=3000))
def test_no_number_of_examples_flips_it_but_the_one_told_and_those_beyond(inputs: Inputs, examples: int) -> None:
    now, found = advise(inputs).recommendation, flip(inputs, "training data").to
    other = advise(replace(inputs, examples=examples)).recommendation
    crossed = (examples < 100) != (inputs.examples < 100)
    assert other == (found if found and crossed else now)


@given(INPUTS, st.floats(min_value=0.001, max_value=20))
def test_no_latency_flips_it_where_none_is_told(inputs: Inputs, latency: float) -> None:
    if not flip(inputs, "latency requirement").to:
        assert advise(replace(inputs, latency=latency)).recommendation == advise(inputs).recommendation
