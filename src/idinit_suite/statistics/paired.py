"""Paired comparison of two methods by seed: runs of one seed see the same data in the same order, so differences vary less."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy  # its modules are loaded when they are used: scipy.stats takes a second

from .estimates import CONFIDENCE

_RESAMPLES = 9999
_ENOUGH = 6  # values from which some resample is wide enough; from fewer, none covers as often as an interval claims


@dataclass(frozen=True)
class Comparison:
    """A method against a baseline, over the seeds that both were run with.

    Attributes:
        pairs: Number of such seeds.
        completed: In how many of them both runs completed.
        difference: Mean of (method - baseline) over those; NaN without any.
        low: Lower end of its 95 % interval; NaN with fewer than two.
        high: Upper end.
        improvement: Share of all pairs in which the method ended higher. A tie counts one half, and a run that diverged
            ended below any that completed; NaN without pairs.
    """

    pairs: int
    completed: int
    difference: float
    low: float
    high: float
    improvement: float


def compare(method: Mapping[int, float], baseline: Mapping[int, float]) -> Comparison:
    """Compares two methods by seed.

    Args:
        method: Seed -> final value, NaN for a run that diverged.
        baseline: The same of the baseline.
    """
    seeds = sorted(method.keys() & baseline.keys())
    a, b = (np.array([values[seed] for seed in seeds], dtype=np.float64) for values in (method, baseline))
    differences = (a - b)[np.isfinite(a) & np.isfinite(b)]
    low, high = interval(differences)
    ranked = [np.where(np.isfinite(values), values, -math.inf) for values in (a, b)]
    wins = (ranked[0] > ranked[1]) + (ranked[0] == ranked[1]) / 2
    return Comparison(
        pairs=len(seeds),
        completed=len(differences),
        difference=float(differences.mean()) if len(differences) else math.nan,
        low=low,
        high=high,
        improvement=float(wins.mean()) if seeds else math.nan,
    )


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean of independent values, whatever their distribution.

    It is the bootstrap's expanded percentile interval (Hesterberg, "What teachers should know about the bootstrap", The
    American Statistician 69, 2015, section 5.2): percentiles further out, by Student's t, since few values vary less than
    where they come from. With fewer than six it is Student's own, which needs them to be about normal. The resamples are
    seeded: the same values give the same interval.

    Returns:
        Its ends; NaN for fewer than two values.
    """
    n = len(values)
    if n < 2:
        return math.nan, math.nan
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    t = scipy.stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)
    if n < _ENOUGH:
        half = t * scipy.stats.sem(values)
        return float(values.mean() - half), float(values.mean() + half)
    expanded = 1 - 2 * scipy.stats.norm.cdf(-math.sqrt(n / (n - 1)) * t)
    found = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=_RESAMPLES, confidence_level=expanded, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    return float(found.low), float(found.high)


def success(count: int, runs: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a rate of success.

    Args:
        count: Runs that succeeded.
        runs: All runs, at least one.
    """
    found = scipy.stats.binomtest(count, runs).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)
