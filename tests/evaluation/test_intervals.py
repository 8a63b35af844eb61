import random

import pytest

from evaluation import intervals


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    values = [(i * 37 % 41) / 41 for i in range(40)]
    first = intervals.share(values, 500, 1)
    assert first == intervals.share(values, 500, 1)
    assert first != intervals.share(values, 500, 2)


def test_intervals_cover_the_true_share_about_as_often_as_they_say() -> None:
    draw = random.Random(5)
    covered = 0
    for seed in range(120):
        estimate = intervals.share([float(draw.random() < 0.6) for _ in range(60)], 200, seed)
        assert estimate.low is not None
        assert estimate.high is not None
        covered += estimate.low <= 0.6 <= estimate.high
    assert 104 <= covered <= 120


def test_nothing_measured_one_value_and_no_spread() -> None:
    assert intervals.share([None, None], 200, 1).model_dump() == {"mean": None, "low": None, "high": None, "n": 0}
    one = intervals.median([2.5], 200, 1)
    assert (one.mean, one.low, one.high, one.n) == (2.5, None, None, 1)
    same = intervals.share([0.4, 0.4, 0.4], 200, 1)
    assert (same.mean, same.low, same.high) == (0.4, 0.4, 0.4)


def test_all_right_is_not_certainly_right() -> None:
    estimate = intervals.share([1.0] * 20, 200, 1)
    assert (estimate.mean, estimate.high) == (1.0, 1.0)
    assert estimate.low == pytest.approx(0.8389, abs=1e-3)


def test_missing_values_are_left_out_of_mean_and_count() -> None:
    estimate = intervals.share([1.0, None, 0.0, None], 200, 1)
    assert (estimate.mean, estimate.n) == (0.5, 2)


def test_a_paired_difference_sees_what_two_separate_intervals_would_not() -> None:
    hard = [float(i < 15) for i in range(30)]
    better = [float(i < 18) for i in range(30)]
    lead = intervals.difference(better, hard, 1000, 1)
    assert lead.mean == pytest.approx(0.1)
    assert intervals.share(better, 1000, 1).low < intervals.share(hard, 1000, 1).high  # type: ignore[operator]
    with pytest.raises(ValueError, match="zip"):
        intervals.difference([1.0], [1.0, 0.0], 200, 1)
