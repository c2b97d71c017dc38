"""From values of single runs to statistics of a method: means, intervals and epochs to an accuracy.

Runs that diverged are data. They are counted beside every mean, they count as runs that did not reach a threshold
(unless they had before), and they never enter the mean of a final metric, which they do not have. A mean is therefore
one over completed runs, and says little of a method that often diverges: read it with the count beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Any, TypeAlias

import numpy as np
from scipy.special import stdtrit  # the quantile of scipy.stats.t, without its 0.1 ms a call

from .significance import ENOUGH

CONFIDENCE = 0.95
THRESHOLDS = (60, 70, 80)  # percent of the validation images
MOST = {"accuracy": 1.0, "loss": math.inf}  # the highest possible value of a metric; the lowest is 0

# A float32 accuracy of 0.7 is 1.2e-8 short of the number 0.7; no validation split has a million images.
_TOLERANCE = 1e-6
_ROUNDING = 1e-9

Numbers: TypeAlias = Any  # a number or an array of them


@dataclass(frozen=True)
class Estimate:
    """A mean over independent runs.

    Attributes:
        mean: The mean; NaN without runs.
        sd: Standard deviation with n - 1 in the denominator; NaN for fewer than two runs.
        half_width: Half of the 95 % t-interval of the mean; NaN for fewer than ``ENOUGH`` runs: that of two would be six times
            their difference, and say nothing.
        n: Number of runs.
        lowest: The lowest value; NaN without runs.
        highest: The highest value.
    """

    mean: float
    sd: float
    half_width: float
    n: int
    lowest: float
    highest: float


def estimate(values: Iterable[float]) -> Estimate:
    """Mean, standard deviation and Student's 95 % interval of values from independent runs.

    Args:
        values: One number a run; NaN stands for a run that has no such number and is left out.
    """
    sample = np.array([v for v in values if not math.isnan(v)], dtype=np.float64)
    n = len(sample)
    mean, lowest, highest = (float(of(sample)) if n else math.nan for of in (np.mean, np.min, np.max))
    if n < 2:
        return Estimate(mean, math.nan, math.nan, n, lowest, highest)
    sd = float(sample.std(ddof=1))
    half_width = math.nan if n < ENOUGH else float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * sd / math.sqrt(n)
    return Estimate(mean, sd, half_width, n, lowest, highest)


def is_possible(low: Numbers, high: Numbers, least: float, most: float) -> Numbers:
    """Whether an interval lies within what values can be; False where it is NaN.

    Args:
        low: Its lower end, or those of several.
        high: Its upper end.
        least: The lowest possible value.
        most: The highest.
    """
    return (low >= least - _ROUNDING) & (high <= most + _ROUNDING)


def interval_ends(
    mean: np.ndarray, half_width: np.ndarray, lowest: np.ndarray, highest: np.ndarray, most: float
) -> tuple[np.ndarray, np.ndarray]:
    """The ends of intervals of values between 0 and ``most``: the lowest and the highest value where one reaches beyond these.

    An interval of few runs that lie far apart says nothing then. The other arguments are those of an `Estimate`; ends are NaN
    where there is no interval.
    """
    low, high = mean - half_width, mean + half_width
    kept = is_possible(low, high, 0.0, most) | np.isnan(half_width)
    return np.where(kept, low, lowest), np.where(kept, high, highest)


def first_epoch(epochs: Sequence[float], accuracies: Sequence[float], percent: float) -> float:
    """The first evaluation that reaches an accuracy.

    Args:
        epochs: When the evaluations took place, ascending.
        accuracies: What they measured, fractions in [0, 1].
        percent: The accuracy to reach, in percent.

    Returns:
        Its epoch; NaN if none reaches it.
    """
    needed = percent / 100 - _TOLERANCE
    return next((float(e) for e, a in zip(epochs, accuracies, strict=True) if a >= needed), math.nan)


def first_crossing(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray, target: float) -> float:
    """Finds where a curve first is as high as a target, linear between its points.

    Args:
        x: Places, ascending.
        y: Values there; one that is not finite has not reached anything.
        target: The height.

    Returns:
        The place; infinity if the curve never gets there.
    """
    values = np.asarray(y, dtype=np.float64)
    reached = np.flatnonzero(values >= target - _TOLERANCE)
    if not len(reached):
        return math.inf
    index = int(reached[0])
    if index == 0 or not math.isfinite(values[index - 1]):
        return float(x[index])
    share = min(1.0, (target - values[index - 1]) / (values[index] - values[index - 1]))
    return float(x[index - 1] + share * (x[index] - x[index - 1]))


@dataclass(frozen=True)
class Reached:
    """The epochs at which the runs of one method reached an accuracy; runs that never did are kept, as censored.

    Attributes:
        epochs: For each run the epoch at which its validation accuracy reached it; NaN or infinity where it never did.
        last: The last epoch of the budget, up to which it was watched.
    """

    epochs: tuple[float, ...]
    last: float

    @property
    def count(self) -> int:
        """Number of runs that reached it."""
        return sum(map(math.isfinite, self.epochs))

    @property
    def median(self) -> float:
        """The epoch by which half of all runs have reached it, by Kaplan and Meier; infinity if fewer than half have."""
        # all are watched for equally long, so that those that never did come after all others
        return float(median_low(epoch if math.isfinite(epoch) else math.inf for epoch in self.epochs))

    def __str__(self) -> str:
        runs = len(self.epochs)
        half = f"{self.median:.3g}" if math.isfinite(self.median) else f"> {self.last:g}"
        return half if self.count in (0, runs) else f"{half} ({self.count} of {runs})"
