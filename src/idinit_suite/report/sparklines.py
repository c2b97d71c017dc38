"""Curves in a terminal: a line of small bars for each variant."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..archive.variants import Variant
from .curves import mean_curve

_BARS = " ▁▂▃▄▅▆▇█"
_WIDTH = 40  # of a line


def sparklines(variants: Sequence[Variant]) -> RenderableType:
    """Validation accuracy over the epochs, the mean over the runs that completed; loss where tokens are guessed.

    Args:
        variants: The variants, each with one recipe.

    Returns:
        A title, and a row for each: its label and its line.
    """
    metric = variants[0].metric
    curves = [mean_curve(variant, "validation", metric)["mean"] for variant in variants]
    values = np.concatenate(curves)
    low, high = (float(np.nanmin(values)), float(np.nanmax(values))) if metric == "loss" and values.size else (0.0, 1.0)
    extent = "" if metric == "loss" else "; a full bar is 100 %"
    # a title of the table's own would be broken at the table's width
    title = Text(f"Validation {metric}, from the start to epoch {variants[0].last:g}{extent}", style="bold")
    table = Table.grid(padding=(0, 2))
    for variant, curve in zip(variants, curves, strict=True):
        table.add_row(variant.label, _line(curve, variant.last, low, high))
    return Group(title, table)


def _line(curve: pd.Series, last: float, low: float, high: float) -> Text:
    """The values of a curve at equal steps of time, each that of the last evaluation before it."""
    if curve.empty:
        return Text("diverged")
    newest = np.searchsorted(curve.index, np.linspace(0, last, _WIDTH), side="right") - 1
    shares = np.clip((curve.to_numpy()[np.maximum(newest, 0)] - low) / max(high - low, 1e-12), 0, 1)
    return Text("".join(_BARS[round(share * (len(_BARS) - 1))] for share in shares))
