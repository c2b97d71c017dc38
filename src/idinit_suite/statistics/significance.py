"""Tests of the differences that claims name: paired by seed, one-sided, corrected where any of several would do.

That *some* of several differences exist is tested by Holm's method. That *all* of them exist needs no correction, each at
``ALPHA``: by chance, all are found no more often than a given one (an intersection-union test).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # its modules are loaded when they are used: scipy.stats takes a second

ALPHA = 0.05
ENOUGH = 3  # seeds: with two, no test of this kind finds anything but the grossest difference


@dataclass(frozen=True)
class Gain:
    """A difference that a claim says is above 0.

    Attributes:
        mean: Its mean over the seeds; minus infinity where a seed without any value stands against one with a value.
        low: Lower end of its 95 % interval by Student's t; NaN where there is none.
        high: Upper end.
        p: Probability of a difference this far above 0 if there is none; 1 with fewer than ``ENOUGH`` seeds.
    """

    mean: float
    low: float
    high: float
    p: float


def gain(differences: Sequence[float]) -> Gain:
    """Tests whether differences of independent seeds are above 0, by a one-sided t-test.

    Args:
        differences: One a seed, in favour of the claim where positive. Minus infinity is a seed in which the other side has
            a value and this one has not: no mean can be above 0 then.
    """
    values = np.asarray(differences, dtype=np.float64)
    if not len(values) or not np.isfinite(values).all():
        mean = -math.inf if len(values) else math.nan
        return Gain(mean, math.nan, math.nan, 1.0)
    mean = float(values.mean())
    if len(values) < ENOUGH:
        return Gain(mean, math.nan, math.nan, 1.0)
    if _constant(values):
        return Gain(mean, mean, mean, 0.0 if mean > 0 else 1.0)
    found = scipy.stats.ttest_1samp(values, 0)
    low, high = found.confidence_interval(1 - ALPHA)
    return Gain(mean, float(low), float(high), float(found.pvalue / 2 if mean > 0 else 1 - found.pvalue / 2))


def paired(a: Mapping[int, float], b: Mapping[int, float]) -> list[float]:
    """The differences a - b over the seeds of both."""
    return [a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())]


def equivalence(differences: Sequence[float], margin: float) -> float:
    """Two one-sided t-tests (TOST): the p-value of "the mean difference is not within the margin".

    Args:
        differences: One a seed.
        margin: The largest mean difference that counts as none.
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < ENOUGH:
        return 1.0
    if _constant(values):
        return 0.0 if abs(values.mean()) < margin else 1.0
    above = scipy.stats.ttest_1samp(values, -margin, alternative="greater").pvalue
    below = scipy.stats.ttest_1samp(values, margin, alternative="less").pvalue
    return float(max(above, below))


def more_often(wins: int, losses: int) -> Gain:
    """The exact sign test: of the pairs in which one side succeeds and the other does not, whether most are wins."""
    pairs = wins + losses
    p = float(scipy.stats.binomtest(wins, pairs, 0.5, alternative="greater").pvalue) if pairs else 1.0
    return Gain(float(wins - losses), math.nan, math.nan, p)


def holm(values: Sequence[float]) -> list[bool]:
    """Finds which of several tests are significant at ``ALPHA`` for all together (Holm, Scand. J. Statist. 6, 1979)."""
    order = sorted(range(len(values)), key=lambda index: values[index])
    found = [False] * len(values)
    for rank, index in enumerate(order):
        if values[index] > ALPHA / (len(values) - rank):
            break
        found[index] = True
    return found


def _constant(values: np.ndarray) -> bool:
    return float(np.ptp(values)) <= 1e-12 * max(1.0, float(np.abs(values).max()))
