"""Statistics of a run's layers: from the rows of its metrics to rows of ``layers.csv``, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..tracking.wandb_follower import LAYERS

STATISTICS = ("weight_norm", "gradient_norm", "branch_ratio", "dead_units")
COLUMNS = {"hash": "string", "step": "Int64", "layer": "string", **dict.fromkeys(STATISTICS, "float64")}
STEPS = 24  # at most this many are kept of a run

Rows = Sequence[Mapping[str, Any]]


def measurements(rows: Rows) -> list[Mapping[str, Any]]:
    """The rows of a run's metrics about its layers, one a step."""
    return list({row["step"]: row for row in rows if row["split"] == LAYERS}.values())


def to_table(run: str, rows: Rows) -> pd.DataFrame:
    """What the archive keeps of some `measurements`: a row for each step and layer, in the order of the forward pass.

    Of more than ``STEPS`` steps there are as many, evenly spread from the first to the last. Values have three digits. One
    that is not finite is infinity; one that a layer does not have is NaN.

    Args:
        run: The run's hash.
        rows: Its measurements.
    """
    kept = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), STEPS)).round().astype(int))
    cells = [
        [run, row["step"], layer, *(_cell(row[statistic], layer) for statistic in STATISTICS)]
        for row in (rows[index] for index in kept)
        for layer in row["weight_norm"]
    ]
    return pd.DataFrame(cells, columns=list(COLUMNS)).astype(COLUMNS)


def from_table(table: pd.DataFrame) -> list[Mapping[str, Any]]:
    """The `measurements` that the rows of one run in ``layers.csv`` stand for."""
    return [
        {"step": int(own["step"].iloc[0]), "split": LAYERS}
        | {statistic: dict(_values(own["layer"], own[statistic])) for statistic in STATISTICS}
        for _, own in table.groupby("step")
    ]


def _cell(values: Mapping[str, float | None], layer: str) -> float:
    if layer not in values:
        return math.nan
    value = values[layer]
    return math.inf if value is None else float(f"{value:.3g}")


def _values(layers: pd.Series, column: pd.Series) -> list[tuple[str, float | None]]:
    return [
        (layer, value if math.isfinite(value) else None)
        for layer, value in zip(layers, column, strict=True)
        if not math.isnan(value)
    ]
