"""The curves and maps of one scale as plain values for the page's charts: means with intervals, one series an arm."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from ...archive.recipe_grid import Map
from ...archive.run_record import SPLITS
from ...archive.variants import Arm
from ...statistics.estimates import CONFIDENCE

METRICS = ("accuracy", "loss")
_POSSIBLE = {"accuracy": (0, 1), "loss": (0, None)}  # an interval of two runs may reach beyond


def curves(arms: Sequence[Arm]) -> list[dict[str, Any]]:
    """The arms in all their recipes.

    Returns:
        For each its label, the number of its look, whether its recipe is its own best or the shared one, steps and seconds
        of an epoch, and by split the epochs with mean and 95 % interval of each metric over the completed runs. A run that
        diverged is a series of its own. A time is the run's mean share of its whole time, evaluations included.
    """
    names = sorted({arm.name for arm in arms})
    return [
        {
            "label": arm.label,
            "look": names.index(arm.name),
            "own": arm.primary,
            "shared": arm.shared,
            "steps": _number(arm.runs["steps"].iloc[0] / arm.last),
            "seconds": _number((arm.runs["time_s"] / arm.runs["epoch"].where(arm.runs["epoch"] > 0)).mean()),
            "runs": len(arm.runs),
            "splits": {split: _means(arm, split) for split in SPLITS},
            "diverged": [
                _ended(arm, run, split) for run in arm.runs[arm.runs["state"] == "diverged"]["hash"] for split in SPLITS
            ],
        }
        for arm in arms
    ]


def map_of(maps: Iterable[Map]) -> list[dict[str, Any]]:
    """The cells of some maps: arm, how many of its cells train, values of both keys, validation accuracy or None."""
    return [
        {
            "arm": f"{one.name}: {one.trains} of {len(one.cells)} train",
            "x": f"{x:g}",
            "y": f"{y:g}",
            "accuracy": None if arm.diverged else _number(arm.validation.mean),
        }
        for one in maps
        for (x, y), arm in sorted(one.cells.items())
    ]


def _means(arm: Arm, split: str) -> dict[str, list[Any]]:
    completed = arm.completed["hash"]
    rows = arm.curves[(arm.curves["split"] == split) & arm.curves["hash"].isin(completed)]
    by_epoch = rows.groupby("epoch")
    whole = by_epoch.size() == len(completed)
    series: dict[str, list[Any]] = {"epoch": _numbers(whole.index[whole])}
    for metric in METRICS:
        values = by_epoch[metric]
        mean, n = values.mean()[whole], len(completed)
        half = values.std()[whole] * (stdtrit(n - 1, (1 + CONFIDENCE) / 2) / math.sqrt(n) if n > 1 else math.nan)
        low, high = ((mean + side * half).clip(*_POSSIBLE[metric]) for side in (-1, 1))
        series[metric] = [_numbers(mean), _numbers(low), _numbers(high)]
    return series


def _ended(arm: Arm, run: str, split: str) -> dict[str, Any]:
    """A run that diverged: what it did until then."""
    rows = arm.curves[(arm.curves["hash"] == run) & (arm.curves["split"] == split)]
    return {"split": split, "epoch": _numbers(rows["epoch"]), **{metric: _numbers(rows[metric]) for metric in METRICS}}


def _numbers(values: pd.Series | pd.Index) -> list[float | None]:
    return [_number(value) for value in np.asarray(values, dtype=np.float64)]


def _number(value: float) -> float | None:
    """Four digits are enough for a chart; JSON has no NaN."""
    return float(f"{value:.4g}") if math.isfinite(value) else None
