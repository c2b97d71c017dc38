"""The curves and maps of one scale as plain values for the page's charts: means with intervals, one series a variant."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from ...archive.layers import STATISTICS
from ...archive.recipe_grid import Map
from ...archive.run_record import SPLITS
from ...archive.variants import Variant, model_prefixes
from ...statistics.estimates import MOST
from ..curves import mean_curve
from ..layers import MeasuredRun, limits, map_of

METRICS = tuple(MOST)


def curves(variants: Sequence[Variant]) -> list[dict[str, Any]]:
    """The variants in all their recipes.

    Returns:
        For each its label and name, both without the model where variants are called ``model-initializer``, that model,
        whether the recipe is its best, steps, seconds and FLOPs of an epoch, and by split the epochs with mean and 95 %
        interval of each metric over the completed runs (see `mean_curve`). A run that diverged is a series of its own. A
        time is the run's mean share of its whole time, evaluations included.
    """
    return [
        {
            "label": variant.label.removeprefix(f"{prefix}-") if prefix else variant.label,
            "name": variant.name.removeprefix(f"{prefix}-") if prefix else variant.name,
            "model": prefix,
            "own": variant.is_best_recipe,
            "steps": _number(variant.runs["steps"].iloc[0] / variant.last),
            "seconds": _number((variant.runs["time_s"] / variant.runs["epoch"].where(variant.runs["epoch"] > 0)).mean()),
            "flops": _number(float(variant.flops.mean) / variant.last),
            "runs": len(variant.runs),
            "splits": {split: _means(variant, split) for split in SPLITS},
            "diverged": [
                _ended(variant, run, split)
                for run in variant.runs[variant.runs["state"] == "diverged"]["hash"]
                for split in SPLITS
            ],
        }
        for prefix, variant in zip(model_prefixes(variants), variants, strict=True)
    ]


def recipe_map(maps: Iterable[Map]) -> list[dict[str, Any]]:
    """The cells of some maps: variant, how many of its cells train, values of both keys, validation accuracy or None."""
    return [
        {
            "variant": f"{one.name}: {one.trains} of {len(one.cells)} train",
            "x": f"{x:g}",
            "y": f"{y:g}",
            "accuracy": None if variant.diverged else _number(variant.validation.mean),
        }
        for one in maps
        for (x, y), variant in sorted(one.cells.items())
    ]


def layers_of(run: MeasuredRun) -> dict[str, Any]:
    """The layers of a run: its title, the steps, and of each statistic that was measured the scale and the values by layer."""
    maps = {statistic: map_of(statistic, run.rows) for statistic in STATISTICS}
    return {
        "title": run.title,
        "steps": [row["step"] for row in run.rows],
        "maps": {
            statistic: {"limits": limits(statistic, chain.from_iterable(values.values())), "layers": values}
            for statistic, values in maps.items()
            if values
        },
    }


def _means(variant: Variant, split: str) -> dict[str, list[Any]]:
    found = {metric: mean_curve(variant, split, metric) for metric in METRICS}
    epochs = reduce(pd.Index.union, (curve.index for curve in found.values()))
    series: dict[str, list[Any]] = {"epoch": _numbers(epochs)}
    for metric, curve in found.items():
        shown = curve.reindex(epochs)
        series[metric] = [_numbers(shown[column], 3) for column in ("mean", "low", "high")]
    return series


def _ended(variant: Variant, run: str, split: str) -> dict[str, Any]:
    """A run that diverged: what it did until then, and the epoch in which it did."""
    end = variant.runs.loc[variant.runs["hash"] == run, "epoch"].iloc[0]
    rows = variant.curves[(variant.curves["hash"] == run) & (variant.curves["split"] == split)]
    return {
        "split": split,
        "end": _number(end),
        "epoch": _numbers(rows["epoch"]),
        **{metric: _numbers(rows[metric], 3) for metric in METRICS},
    }


def _numbers(values: np.ndarray | pd.Series | pd.Index, digits: int = 4) -> list[float | None]:
    return [_number(value, digits) for value in np.asarray(values, dtype=np.float64)]


def _number(value: float, digits: int = 4) -> float | None:
    """Four digits are enough for a chart's axis, three for what it shows; JSON has no NaN."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None
