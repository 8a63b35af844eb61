"""The nine questions, the ten points and the six signals lead where the docs say."""

import itertools

import pytest

from advisor.checklist import NOT_FOR_HYBRID, POINTS, QUESTIONS, missing, read_answers, tier
from advisor.rules import HYBRID, RAG, TUNED
from advisor.signals import score
from contracts.errors import InputError

# Nothing fires: knowledge stands, no source, no style, data and hardware and time are there.
QUIET = "nnnyyynnn"


def answered(*changed: int) -> list[bool]:
    """QUIET with the answers to these questions turned round."""
    return [(yes == "y") != (n in changed) for n, yes in enumerate(QUIET, start=1)]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ((), RAG),
        ((1,), RAG), ((2,), RAG), ((3,), TUNED), ((4,), RAG), ((5,), TUNED), ((6,), RAG), ((7,), TUNED), ((8,), HYBRID),
        ((9,), HYBRID),
        ((1, 3), RAG), ((2, 7), RAG), ((3, 4), RAG), ((3, 6), RAG), ((1, 8), HYBRID), ((2, 9), HYBRID), ((8, 4), RAG),
        ((9, 6), RAG), ((3, 5, 7), TUNED),
    ],
)  # fmt: skip
def test_where_the_nine_questions_lead(changed: tuple[int, ...], expected: str) -> None:
    found = tier(answered(*changed))
    assert found.recommendation == expected
    assert found.fired == tuple(sorted(changed))


@pytest.mark.parametrize(
    ("scenario", "changed", "expected"),
    [
        ("product docs that change weekly", (1, 2), RAG),
        ("strict JSON for an API", (3,), TUNED),
        ("support with changing policies", (1, 2, 3, 8), HYBRID),
        ("code review in house conventions", (3, 7), TUNED),
    ],
)
def test_the_published_scenarios(scenario: str, changed: tuple[int, ...], expected: str) -> None:
    assert tier(answered(*changed)).recommendation == expected


def test_every_combination_leads_somewhere_and_training_never_without_data_and_hardware() -> None:
    for answers in itertools.product((True, False), repeat=9):
        found = tier(answers)
        assert found.recommendation in (HYBRID, RAG, TUNED)
        if not (answers[3] and answers[5]):
            assert found.recommendation == RAG
        if answers[0] or answers[1]:
            assert found.recommendation != TUNED


def test_slow_retrieval_that_nothing_can_replace_is_a_conflict() -> None:
    assert tier(answered(1, 5)).warning
    assert tier(answered(5, 6)).warning
    assert not tier(answered(5)).warning
    assert not tier(answered(1)).warning


def test_ten_points_and_the_two_that_a_hybrid_is_spared() -> None:
    assert (len(QUESTIONS), len(POINTS)) == (9, 10)
    assert missing([True] * 10, TUNED) == []
    assert missing([False] * 10, TUNED) == list(range(1, 11))
    assert missing([False] * 10, HYBRID) == [n for n in range(1, 11) if n not in NOT_FOR_HYBRID]


@pytest.mark.parametrize("text", ["ynn", "y n n", "yes, no, no", "Yes no n", "y,n,n"])
def test_answers_are_read_as_people_write_them(text: str) -> None:
    assert read_answers("--answers", text, 3) == [True, False, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [("yn", "has 2 answers and 3 are asked"), ("y n", "has 2 answers"), ("y n maybe", "answer 3 of --answers is 'maybe'"),
     ("yx n n n", "has 4 answers"), ("", "has 0 answers"), ("yxn", "has 1 answers")],
)  # fmt: skip
def test_other_answers_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_answers("--answers", text, 3)


@pytest.mark.parametrize(("days", "side"), [(1, "retrieval"), (7, "retrieval"), (8, "neither"), (60.9, "neither"),
                                            (61, "training"), (None, "retrieval")])  # fmt: skip
def test_freshness_has_a_middle(days: float | None, side: str) -> None:
    found = score(days, "neither", 0, None, "neither", "neither")
    assert found.signals[0].side == side


@pytest.mark.parametrize(("examples", "side"), [(0, "retrieval"), (500, "retrieval"), (501, "training")])
def test_volume_counts_above_500(examples: int, side: str) -> None:
    assert score(30, "neither", examples, None, "neither", "neither").signals[2].side == side


@pytest.mark.parametrize(("latency", "side"), [(0.499, "training"), (0.5, "retrieval"), (None, "retrieval")])
def test_latency_counts_below_500_ms(latency: float | None, side: str) -> None:
    assert score(30, "neither", 0, latency, "neither", "neither").signals[3].side == side


def test_six_points_for_one_side_and_a_tie_is_both() -> None:
    for_retrieval = score(1, "retrieval", 0, 2, "retrieval", "retrieval")
    assert (for_retrieval.retrieval, for_retrieval.training, for_retrieval.recommendation) == (6, 0, RAG)
    for_training = score(365, "training", 600, 0.1, "training", "training")
    assert (for_training.retrieval, for_training.training, for_training.recommendation) == (0, 6, TUNED)
    tie = score(1, "both", 600, 2, "training", "both")
    assert (tie.retrieval, tie.training, tie.recommendation) == (4, 4, HYBRID)
