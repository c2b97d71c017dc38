"""The layers of a run over its training: a figure, a table of where they began and ended, and their part of a page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from ..archive.layers import STATISTICS, Rows, from_table
from ..archive.runs import Archive
from ..archive.variants import Variant, best_recipes
from ..training.layers import EXAMPLES
from .blocks import Block, Folded, Picture
from .style import ZERO

TITLES = dict(zip(STATISTICS, ("weight norm", "gradient norm", "branch output / input", "dead units"), strict=True))
_COLOURS = mpl.colormaps["cividis"].with_extremes(under=ZERO, bad="#FFFFFF")  # the same to colour-blind eyes
_LABELS = 40  # of more layers, some have one


@dataclass(frozen=True)
class MeasuredRun:
    """A run that measured its layers: its variant, seed and state in words, and its `measurements`."""

    title: str
    rows: Rows


def measured_runs(archive: Archive, variants: Sequence[Variant], suffix: str) -> dict[str, MeasuredRun]:
    """The run to show of each variant that has some with layers: that of its best recipe with the lowest seed.

    Args:
        archive: The experiment's archive.
        variants: The variants of one scale in all their recipes.
        suffix: What the names of the scale's figures end with.

    Returns:
        Each run by the name of its figure.
    """
    found = {}
    for variant in best_recipes(variants):
        runs = variant.runs[variant.runs["hash"].isin(archive.layers["hash"])].sort_values("seed")
        if len(runs):
            run = runs.iloc[0]
            rows = from_table(archive.layers[archive.layers["hash"] == run["hash"]])
            title = f"{variant.name}, seed {run['seed']}, {run['state']}"
            found[f"layers-{variant.name}{suffix}"] = MeasuredRun(title, rows)
    return found


def layer_maps(runs: Mapping[str, MeasuredRun]) -> list[Block]:
    """The folded part of a page with the figures of some `measured_runs`; nothing where there are none."""
    if not runs:
        return []
    lead = (
        f"Measured on the same {EXAMPLES} examples before training, during it and at its end. Each map has its own scale; "
        "orange is exactly 0, white not finite."
    )
    pictures = [
        Picture(
            name,
            f"{run.title}: layers from the input, above, to the output.",
            partial(draw_layers, run.title, run.rows),
            alt=f"{run.title}: maps of {', '.join(TITLES.values())} of each layer over the steps of the training",
            charted=True,
        )
        for name, run in runs.items()
    ]
    return [Folded(f"Layers of {'; '.join(run.title for run in runs.values())}", [lead, *pictures])]


def map_of(statistic: str, rows: Rows) -> dict[str, list[float | None]]:
    """Layer -> a statistic of it in each of some `measurements`, None where it is not finite; layers that have it alone."""
    layers = [layer for layer in rows[0]["weight_norm"] if any(layer in row[statistic] for row in rows)]
    return {layer: [row[statistic].get(layer) for row in rows] for layer in layers}


def limits(statistic: str, values: Iterable[float | None]) -> tuple[float, float]:
    """The ends of a map's scale of colours: 0 and 1 for shares, for others, on a logarithmic scale, a decade or more."""
    if statistic == "dead_units":
        return 0.0, 1.0
    seen = [value for value in values if value]
    lowest, highest = (min(seen), max(seen)) if seen else (1.0, 1.0)
    return min(lowest, highest / 10), highest


def layer_table(rows: Rows) -> list[list[str]]:
    """A row for each layer: its weight, and each statistic at the first step and at the last of some `measurements`."""
    first, last = rows[0], rows[-1]
    return [[layer, *(_change(statistic, first, last, layer) for statistic in TITLES)] for layer in first["weight_norm"]]


def _change(statistic: str, first: Mapping[str, Any], last: Mapping[str, Any], layer: str) -> str:
    if layer not in first[statistic] and layer not in last[statistic]:
        return ""
    return " → ".join(_value_text(statistic, row[statistic].get(layer)) for row in (first, last))


def _value_text(statistic: str, value: float | None) -> str:
    if value is None:
        return "not finite"
    return f"{100 * value:.0f} %" if statistic == "dead_units" else f"{value:.2g}"


def draw_layers(title: str, rows: Rows) -> Figure:
    """Draws each statistic as a map of layers, from the input downwards, against the steps of some `measurements`."""
    maps = {statistic: map_of(statistic, rows) for statistic in TITLES}
    every = list(maps[STATISTICS[0]])
    figure = Figure(figsize=(13, 1.6 + 0.16 * min(len(every), _LABELS)), layout="constrained")
    for axes, (statistic, heading) in zip(figure.subplots(1, len(TITLES)), TITLES.items(), strict=True):
        layers = list(maps[statistic])
        if not layers:
            axes.set_axis_off()
            continue
        values = np.array(list(maps[statistic].values()), dtype=float)
        _draw(axes, values, *limits(statistic, chain.from_iterable(maps[statistic].values())))
        axes.set_title(heading, fontsize=9)
        axes.set_xlabel("step")
        shown = range(0, len(rows), math.ceil(len(rows) / 6))
        axes.set_xticks(shown, [str(rows[index]["step"]) for index in shown])
        spaced = range(0, len(layers), math.ceil(len(layers) / _LABELS))
        axes.set_yticks(spaced, [layers[index].removesuffix(".weight") for index in spaced], fontsize=6)
        if statistic != STATISTICS[0] and layers == every:
            axes.set_yticklabels([])  # they are those of the first map
        axes.grid(False)
    figure.suptitle(
        f"{title}: layers from input (above) to output; orange: 0, white: not finite", x=0.01, ha="left", fontsize=10
    )
    return figure


def _draw(axes: Axes, values: np.ndarray, low: float, high: float) -> None:
    """Colours of values [layers, steps]: on a logarithmic scale, unless that begins at 0."""
    norm = LogNorm(low, high) if low else Normalize(low, high)
    values = np.where(values == 0, low / 10, values)  # a logarithm of 0 would be missing; below the scale it has a colour
    image = axes.imshow(values, cmap=_COLOURS, norm=norm, aspect="auto", interpolation="none")
    bar = axes.figure.colorbar(image, ax=axes, location="bottom", pad=0.02, aspect=30)
    bar.ax.xaxis.set_minor_formatter(NullFormatter())
