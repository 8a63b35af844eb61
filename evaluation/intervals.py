"""How sure a figure is: 95% intervals by the percentile bootstrap (Efron, 1979) over questions, seeded."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from contracts.verdicts import Estimate


def share(values: Sequence[float | None], resamples: int, seed: int) -> Estimate:
    """Mean of shares between 0 and 1 (None: not measured) with its 95% interval.

    Where every value is 0, or every value is 1, resampling cannot show any doubt, so the interval is Wilson's (1927):
    20 right of 20 is "0.84 or more", not "certainly all".
    """
    known = [value for value in values if value is not None]
    if known and set(known) <= {0.0, 1.0} and len(set(known)) == 1:
        from scipy.stats import binomtest

        wilson = binomtest(round(sum(known)), len(known)).proportion_ci(method="wilson")
        return _rounded(known[0], wilson.low, wilson.high, len(known))
    return _bootstrap(known, np.mean, resamples, seed)


def median(values: Sequence[float], resamples: int, seed: int) -> Estimate:
    """Median with its 95% interval, in the unit of `values`; it stands in `mean`."""
    return _bootstrap(list(values), np.median, resamples, seed)


def difference(left: Sequence[float], right: Sequence[float], resamples: int, seed: int) -> Estimate:
    """Mean of left - right over the same questions: paired, so that hard questions do not blur the comparison.

    Raises:
        ValueError: the two are not of one length.
    """
    return _bootstrap([a - b for a, b in zip(left, right, strict=True)], np.mean, resamples, seed)


def _bootstrap(values: list[float], statistic: Callable[..., Any], resamples: int, seed: int) -> Estimate:
    """One value has no interval; values without spread have one of no width."""
    if not values:
        return Estimate(mean=None, low=None, high=None, n=0)
    centre = float(statistic(values))
    if len(values) == 1:
        return _rounded(centre, None, None, 1)
    from scipy.stats import bootstrap

    interval = bootstrap(
        (np.asarray(values, dtype=np.float64),),
        statistic,
        n_resamples=resamples,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    # Sums in another order differ in the last bits: an interval always holds its own centre.
    return _rounded(centre, min(float(interval.low), centre), max(float(interval.high), centre), len(values))


def _rounded(mean: float, low: float | None, high: float | None, n: int) -> Estimate:
    """Six decimals: equal on every machine, and far finer than any interval."""
    ends = [None if end is None else round(float(end), 6) for end in (low, high)]
    return Estimate(mean=round(mean, 6), low=ends[0], high=ends[1], n=n)
