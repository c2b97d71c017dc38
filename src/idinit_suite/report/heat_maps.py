"""Heat maps of two hyper-parameters, one a variant, side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from ..archive.recipe_grid import Map
from ..archive.variants import Variant

_COLOURS = mpl.colormaps["cividis"]  # the same to colour-blind eyes


def draw_maps(title: str, maps: Mapping[str, Map]) -> Figure:
    """Draws the validation accuracies of the variants over the same grid, given by name."""
    columns = min(3, len(maps))
    rows = math.ceil(len(maps) / columns)
    figure = Figure(figsize=(3.7 * columns, 2.4 * rows + 0.6), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    cells = [variant for one in maps.values() for variant in one.cells.values()]
    highest = max((variant.validation.mean for variant in cells if variant.validation.n), default=1.0)  # all may have diverged
    for axes, one in zip(panels, maps.values(), strict=False):
        values = np.array([[_value(one.cells[x, y]) for x in one.x] for y in one.y])
        axes.imshow(values, cmap=_COLOURS, vmin=0, vmax=highest, aspect="auto", origin="lower")
        for (row, column), value in np.ndenumerate(values):
            text = "diverged" if math.isnan(value) else f"{100 * value:.0f} %"
            dark = not math.isnan(value) and value < highest / 2
            axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color="white" if dark else "black")
        axes.set_title(f"{one.name}: {one.trains} of {len(one.cells)} train", fontsize=9)
        axes.set_xticks(range(len(one.x)), [f"{x:g}" for x in one.x])
        axes.set_yticks(range(len(one.y)), [f"{y:g}" for y in one.y])
        axes.set(xlabel=words(one.keys[0]), ylabel=words(one.keys[1]))
        axes.grid(False)
    for axes in panels[len(maps) :]:
        axes.set_axis_off()
    figure.suptitle(f"{title}; validation accuracy after the last epoch", x=0.01, ha="left", fontsize=10.5)
    return figure


def _value(variant: Variant) -> float:
    """The mean accuracy of a cell; NaN where a run diverged."""
    return math.nan if variant.diverged else variant.validation.mean


def words(key: str) -> str:
    """A hyper-parameter in words: ``learning rate`` for ``optim.lr``."""
    return {"lr": "learning rate"}.get(name := key.rpartition(".")[2], name.replace("_", " "))
