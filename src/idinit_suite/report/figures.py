"""Curves of an experiment: train loss and validation accuracy against epochs, one line a variant."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from functools import partial
from operator import mul
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, PercentFormatter

from ..archive.variants import BANDS, Variant, best_recipes, by_model
from ..atomic import write_atomically
from .curves import mean_curve
from .formatting import amount, percent, plain
from .style import COLOURS, DASHES, MARKERS

_CROSS: dict[str, Any] = {"marker": "x", "markersize": 8, "markeredgewidth": 2}

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same letters on every machine
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E5E5E5",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.title_fontsize": 9,
    "svg.hashsalt": "idinit",  # ids in the SVG are random otherwise
    "svg.fonttype": "path",
}


def save_figure(draw: Callable[[], Figure], stem: Path) -> None:
    """Draws a figure in the project's look and writes it as ``stem.svg`` and ``stem.png``; equal input gives equal bytes.

    Args:
        draw: Makes the figure.
        stem: Path of the files, without ending.

    Raises:
        OSError: If they cannot be written.
    """
    with mpl.rc_context(_STYLE):
        figure = draw()
        FigureCanvasAgg(figure)
        figure.draw_without_rendering()
        if (layout := figure.get_layout_engine()) is not None:
            layout.execute(figure)  # the first time, labels of upper axes had no places yet
        figure.set_layout_engine(None)  # what the layout has arranged stands for both formats
        for ending, metadata in (("svg", {"Date": None, "Creator": None}), ("png", {"Software": None})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=ending, metadata=metadata, dpi=160, facecolor="white")
            write_atomically(stem.with_name(f"{stem.name}.{ending}"), buffer.getvalue())


def draw_curves(title: str, variants: Sequence[Variant]) -> Figure:
    """Draws the curves of the variants' best recipes.

    A line is the mean over completed runs, its band the 95 % t-interval at each point, or the lowest and the highest run; see
    `mean_curve`. More than `BANDS` lines have no bands. A run that diverged is a thin line of its
    own that ends in a cross. Variants of several models have a row of axes for each.

    Args:
        title: Heading of the figure.
        variants: In the order in which the legend lists them, in all their recipes.
    """
    variants = best_recipes(variants)
    groups = by_model(variants).values()
    heights = [max(4.4 if len(groups) == 1 else 2.8, 0.2 * (len(group) + 3)) for group in groups]  # as high as the legend
    figure = Figure(figsize=(11, sum(heights)), layout="constrained")
    rows = [figure] if len(groups) == 1 else figure.subfigures(len(groups), squeeze=False, height_ratios=heights).flat
    for row, group in zip(rows, groups, strict=True):
        _draw_model(row, group)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10.5)
    return figure


def _draw_model(figure: FigureBase, variants: Sequence[Variant]) -> None:
    loss, score = figure.subplots(1, 2)
    metric = variants[0].metric
    names = sorted(variant.name for variant in variants)
    # by name and not by rank: a line keeps its look when the results change their order
    styles = [line_style(names.index(variant.name)) for variant in variants]
    banded = len(variants) <= BANDS
    for variant, style in zip(variants, styles, strict=True):
        _draw_mean(loss, variant, "train", "loss", style, banded)
        _draw_mean(score, variant, "validation", metric, style, banded)
    loss.set(xlabel="epoch", ylabel="train loss", ylim=loss_limits(variants))
    score.set(xlabel="epoch", ylabel=f"validation {metric}")
    if metric == "loss":
        score.set_ylim(loss_limits(variants))
        _mark_work(score, variants[0])
    else:
        low, high = score.get_ylim()
        score.set_ylim(max(low, 0), min(high, 1))  # the margin may go beyond, an accuracy cannot
        score.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    for axes in (loss, score):
        axes.set_xlim(0, 1.02 * variants[0].last)  # room for the last marker
    for variant, style in zip(variants, styles, strict=True):
        _draw_diverged(loss, variant, "train", "loss", style)
        _draw_diverged(score, variant, "validation", metric, style)
    labels = [
        f"{variant.label}  {plain(variant.loss, 3) if metric == 'loss' else percent(variant.test)}" for variant in variants
    ]
    handles = [Line2D([], [], label=label, **style) for label, style in zip(labels, styles, strict=True)]
    if any(variant.diverged for variant in variants):
        handles.append(Line2D([], [], label="a run diverged", color="#555555", linestyle="", **_CROSS))
    heading = "validation loss after the last step" if metric == "loss" else "test accuracy after the last epoch, %"
    figure.legend(handles=handles, title=heading, loc="outside right upper", frameon=False, handlelength=4.5, alignment="left")


def _mark_work(axes: Axes, variant: Variant) -> None:
    """Shows steps, tokens and operations on upper axes, as they are the same for all variants."""
    totals = {"steps": variant.runs["steps"].max(), "tokens": variant.tokens.mean, "FLOPs": variant.flops.mean}
    for place, (unit, total) in enumerate((unit, float(total)) for unit, total in totals.items() if not math.isnan(total)):
        rate = total / variant.last
        upper = axes.secondary_xaxis(1 + 0.17 * place, functions=(partial(mul, rate), partial(mul, 1 / rate)))
        upper.set_xlabel(unit, labelpad=2)
        upper.xaxis.set_major_formatter(FuncFormatter(lambda value, _: amount(max(value, 0.0))))


def line_style(index: int) -> dict[str, Any]:
    """Colour, dash and marker of the line of that number: different for each number below 21."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": DASHES[index // len(COLOURS) % len(DASHES)],
        "marker": MARKERS[index % len(MARKERS)],
        "markersize": 4.5,
        "linewidth": 1.5,
    }


def _draw_mean(axes: Axes, variant: Variant, split: str, metric: str, style: dict[str, Any], banded: bool) -> None:
    curve = mean_curve(variant, split, metric)
    if len(curve):
        axes.plot(curve.index, curve["mean"], markevery=max(1, len(curve) // 6), **style)
    if banded and curve["low"].notna().any():
        axes.fill_between(curve.index, curve["low"], curve["high"], color=style["color"], alpha=0.15, linewidth=0)


def _draw_diverged(axes: Axes, variant: Variant, split: str, metric: str, style: dict[str, Any]) -> None:
    """Thin lines for the diverged runs; a cross where each ended, at its last finite value or the axes' upper edge."""
    for run in variant.runs[variant.runs["state"] == "diverged"].itertuples():
        curve = variant.curves[(variant.curves["hash"] == run.hash) & (variant.curves["split"] == split)]
        curve = curve[np.isfinite(curve[metric])]
        upper = axes.get_ylim()[1]
        end = min(float(curve[metric].iloc[-1]), upper) if len(curve) else upper
        line: dict[str, Any] = {"color": style["color"], "linestyle": style["linestyle"], "linewidth": 0.8}
        axes.plot([*curve["epoch"], run.epoch], [*curve[metric], end], **line)
        axes.plot([run.epoch], [end], color=style["color"], clip_on=False, zorder=5, **_CROSS)


def loss_limits(variants: Sequence[Variant]) -> tuple[float, float]:
    """Shows where the variants begin and end, without following a loss that explodes at the start or in between."""
    train = pd.concat(
        [variant.curves[(variant.curves["split"] == "train") & np.isfinite(variant.curves["loss"])] for variant in variants]
    )
    if train.empty:
        return 0.0, 1.0
    begin = train.groupby("hash")["loss"].first().median()
    end = pd.concat([variant.completed["train_loss"] for variant in variants]).max()
    return 0.9 * float(train["loss"].min()), float(np.nanmax([1.15 * begin, 1.1 * end]))
