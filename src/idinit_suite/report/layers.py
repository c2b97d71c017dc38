"""The layers of one run over its training: a figure, and a table of where they began and ended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from ..tracking.wandb_follower import LAYERS

TITLES = {
    "weight_norm": "weight norm",
    "gradient_norm": "gradient norm",
    "branch_ratio": "branch output / input",
    "dead_units": "dead units",
}
_COLOURS = mpl.colormaps["cividis"].with_extremes(under="#D55E00", bad="#FFFFFF")  # the same to colour-blind eyes
_LABELS = 40  # more layers than fit are numbered
Rows = Sequence[Mapping[str, Any]]


def measurements(rows: Rows) -> list[Mapping[str, Any]]:
    """The rows of a run's metrics that tell of its layers, one a step."""
    return list({row["step"]: row for row in rows if row["split"] == LAYERS}.values())


def layer_table(rows: Rows) -> list[list[str]]:
    """A row for each layer: its weight, and each statistic at the first step and at the last; see `measurements`."""
    first, last = rows[0], rows[-1]
    return [[layer, *(_change(statistic, first, last, layer) for statistic in TITLES)] for layer in first["weight_norm"]]


def _change(statistic: str, first: Mapping[str, Any], last: Mapping[str, Any], layer: str) -> str:
    if layer not in first[statistic] and layer not in last[statistic]:
        return ""
    return " → ".join(_said(statistic, row[statistic].get(layer)) for row in (first, last))


def _said(statistic: str, value: float | None) -> str:
    if value is None:
        return "not finite"
    return f"{100 * value:.0f} %" if statistic == "dead_units" else f"{value:.2g}"


def draw_layers(title: str, rows: Rows) -> Figure:
    """Draws each statistic as a map of layers, from the input downwards, against the steps; see `measurements`."""
    figure = Figure(figsize=(13, 1.6 + 0.16 * min(len(rows[0]["weight_norm"]), _LABELS)), layout="constrained")
    for axes, (statistic, heading) in zip(figure.subplots(1, len(TITLES)), TITLES.items(), strict=True):
        layers = [layer for layer in rows[0]["weight_norm"] if any(layer in row[statistic] for row in rows)]
        if not layers:
            axes.set_axis_off()
            continue
        values = np.array([[_number(row[statistic].get(layer)) for row in rows] for layer in layers])
        _draw(axes, values, statistic == "dead_units")
        axes.set_title(heading, fontsize=9)
        axes.set_xlabel("step")
        shown = range(0, len(rows), math.ceil(len(rows) / 6))
        axes.set_xticks(shown, [str(rows[index]["step"]) for index in shown])
        names = layers if len(layers) <= _LABELS else list(map(str, range(1, len(layers) + 1)))
        spaced = range(0, len(layers), math.ceil(len(layers) / _LABELS))
        axes.set_yticks(spaced, [names[index].removesuffix(".weight") for index in spaced], fontsize=6)
        axes.grid(False)
    figure.suptitle(
        f"{title}: layers from input (above) to output; orange: 0, white: not finite", x=0.01, ha="left", fontsize=10
    )
    return figure


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _draw(axes: Axes, values: np.ndarray, is_share: bool) -> None:
    """Colours of values [layers, steps]; those of shares are from 0 to 1, others on a logarithmic scale of a decade or more."""
    seen = values[np.isfinite(values) & (values > 0)]
    lowest, highest = (float(seen.min()), float(seen.max())) if seen.size else (1.0, 1.0)
    norm = Normalize(0, 1) if is_share else LogNorm(min(lowest, highest / 10), highest)
    image = axes.imshow(values, cmap=_COLOURS, norm=norm, aspect="auto", interpolation="nearest")
    bar = axes.figure.colorbar(image, ax=axes, location="bottom", pad=0.02, aspect=30)
    bar.ax.xaxis.set_minor_formatter(NullFormatter())
