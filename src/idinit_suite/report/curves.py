"""The mean curve of a variant's runs, with its interval: what figures, charts and sparklines show."""

from __future__ import annotations

import math

import pandas as pd
from scipy.special import stdtrit

from ..archive.variants import Variant
from ..statistics.estimates import CONFIDENCE, MOST, interval_ends
from ..statistics.significance import ENOUGH


def mean_curve(variant: Variant, split: str, metric: str) -> pd.DataFrame:
    """The mean of a metric over the runs that completed, at the epochs at which all of them have it.

    Returns:
        Columns ``mean``, ``low`` and ``high``, by epoch: the ends of the mean's 95 % t-interval, see `interval_ends`; NaN for
        fewer than ``ENOUGH`` runs.
    """
    completed = variant.completed["hash"]
    rows = variant.curves[(variant.curves["split"] == split) & variant.curves["hash"].isin(completed)]
    n = len(completed)
    points = rows.groupby("epoch")[metric].agg(["count", "mean", "sem", "min", "max"])
    points = points[points["count"] == n]
    half_width = points["sem"] * (stdtrit(n - 1, (1 + CONFIDENCE) / 2) if n >= ENOUGH else math.nan)
    low, high = interval_ends(points["mean"], half_width, points["min"], points["max"], MOST[metric])
    return points[["mean"]].assign(low=low, high=high)
