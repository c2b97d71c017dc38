"""Curves of an experiment: train loss and validation accuracy against epochs, one line an arm."""

from __future__ import annotations

import io
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

from ..archive.variants import BANDS, Arm, by_model
from ..atomic import write_atomically
from ..statistics.estimates import estimate
from .formatting import amount, percent, plain

# The colours of Okabe and Ito, without the yellow that fades on white. Dash and marker tell apart what shares a colour,
# and every line after the seventh; the order of the legend is that of the results.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
_DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "<", ">", "p", "h", "d")
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


def save_curves(title: str, arms: Sequence[Arm], stem: Path) -> None:
    """Writes the curves of the arms' primary recipes as ``stem.svg`` and ``stem.png``; equal input gives equal bytes.

    A line is the mean over completed runs, its band the 95 % t-interval at each point; more than `BANDS` lines have none. A
    run that diverged is a thin line of its own that ends in a cross. Arms of several models have a row of axes for each.

    Args:
        title: Heading of the figure.
        arms: In the order in which the legend lists them.
        stem: Path of the files, without ending.

    Raises:
        OSError: If they cannot be written.
    """
    save_figure(lambda: _draw(title, [arm for arm in arms if arm.primary]), stem)


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
        for ending, metadata in (("svg", {"Date": None, "Creator": None}), ("png", {"Software": None})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=ending, metadata=metadata, dpi=160, facecolor="white")
            write_atomically(stem.with_name(f"{stem.name}.{ending}"), buffer.getvalue())


def _draw(title: str, arms: Sequence[Arm]) -> Figure:
    groups = by_model(arms).values()
    heights = [max(4.4 if len(groups) == 1 else 2.8, 0.2 * (len(group) + 3)) for group in groups]  # as high as the legend
    figure = Figure(figsize=(11, sum(heights)), layout="constrained")
    rows = [figure] if len(groups) == 1 else figure.subfigures(len(groups), squeeze=False, height_ratios=heights).flat
    for row, group in zip(rows, groups, strict=True):
        _draw_model(row, group)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10.5)
    return figure


def _draw_model(figure: FigureBase, arms: Sequence[Arm]) -> None:
    loss, score = figure.subplots(1, 2)
    metric = "loss" if arms[0].guesses_tokens else "accuracy"
    names = sorted(arm.name for arm in arms)
    # by name and not by rank: a line keeps its look when the results change their order
    styles = [line_style(names.index(arm.name)) for arm in arms]
    banded = len(arms) <= BANDS
    for arm, style in zip(arms, styles, strict=True):
        _draw_mean(loss, arm, "train", "loss", style, banded)
        _draw_mean(score, arm, "validation", metric, style, banded)
    loss.set(xlabel="epoch", ylabel="train loss", ylim=loss_limits(arms))
    score.set(xlabel="epoch", ylabel=f"validation {metric}")
    if metric == "loss":
        score.set_ylim(loss_limits(arms))
        _mark_work(score, arms[0])
    else:
        low, high = score.get_ylim()
        score.set_ylim(max(low, 0), min(high, 1))  # the band of few runs may go beyond, an accuracy cannot
        score.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    for axes in (loss, score):
        axes.set_xlim(0, 1.02 * arms[0].last)  # room for the last marker
    for arm, style in zip(arms, styles, strict=True):
        _draw_diverged(loss, arm, "train", "loss", style)
        _draw_diverged(score, arm, "validation", metric, style)
    labels = [f"{arm.label}  {plain(arm.loss, 3) if metric == 'loss' else percent(arm.test)}" for arm in arms]
    handles = [Line2D([], [], label=label, **style) for label, style in zip(labels, styles, strict=True)]
    if any(arm.diverged for arm in arms):
        handles.append(Line2D([], [], label="a run diverged", color="#555555", linestyle="", **_CROSS))
    heading = "validation loss after the last step" if metric == "loss" else "test accuracy after the last epoch, %"
    figure.legend(handles=handles, title=heading, loc="outside right upper", frameon=False, handlelength=4.5, alignment="left")


def _mark_work(axes: Axes, arm: Arm) -> None:
    """Says on upper axes how many steps, tokens and operations the epochs are: they are the same for all arms."""
    totals = {"steps": arm.runs["steps"].max(), "tokens": arm.tokens.mean, "FLOPs": arm.flops.mean}
    for place, (unit, total) in enumerate((unit, float(total)) for unit, total in totals.items() if total == total):
        rate = total / arm.last
        upper = axes.secondary_xaxis(1 + 0.17 * place, functions=(partial(mul, rate), partial(mul, 1 / rate)))
        upper.set_xlabel(unit, labelpad=2)
        upper.xaxis.set_major_formatter(FuncFormatter(lambda value, _: amount(max(value, 0.0))))


def line_style(index: int) -> dict[str, Any]:
    """Colour, dash and marker of the line of that number: different for each number below 21."""
    return {
        "color": _COLOURS[index % len(_COLOURS)],
        "linestyle": _DASHES[index // len(_COLOURS) % len(_DASHES)],
        "marker": _MARKERS[index % len(_MARKERS)],
        "markersize": 4.5,
        "linewidth": 1.5,
    }


def _draw_mean(axes: Axes, arm: Arm, split: str, metric: str, style: dict[str, Any], banded: bool) -> None:
    runs = arm.completed["hash"]
    curves = arm.curves[(arm.curves["split"] == split) & arm.curves["hash"].isin(runs)]
    points = [(float(epoch), estimate(values)) for epoch, values in curves.groupby("epoch")[metric]]
    points = [(epoch, e) for epoch, e in points if e.n == len(runs)]
    if not points:
        return
    epochs, means = [epoch for epoch, _ in points], np.array([e.mean for _, e in points])
    axes.plot(epochs, means, markevery=max(1, len(points) // 6), **style)
    if banded and len(runs) > 1:
        half = np.array([e.half_width for _, e in points])
        axes.fill_between(epochs, means - half, means + half, color=style["color"], alpha=0.15, linewidth=0)


def _draw_diverged(axes: Axes, arm: Arm, split: str, metric: str, style: dict[str, Any]) -> None:
    """Thin lines for the diverged runs; a cross where each ended, at its last finite value or the axes' upper edge."""
    for run in arm.runs[arm.runs["state"] == "diverged"].itertuples():
        curve = arm.curves[(arm.curves["hash"] == run.hash) & (arm.curves["split"] == split)]
        curve = curve[np.isfinite(curve[metric])]
        upper = axes.get_ylim()[1]
        end = min(float(curve[metric].iloc[-1]), upper) if len(curve) else upper
        line: dict[str, Any] = {"color": style["color"], "linestyle": style["linestyle"], "linewidth": 0.8}
        axes.plot([*curve["epoch"], run.epoch], [*curve[metric], end], **line)
        axes.plot([run.epoch], [end], color=style["color"], clip_on=False, zorder=5, **_CROSS)


def loss_limits(arms: Sequence[Arm]) -> tuple[float, float]:
    """Shows where the arms begin and end, without following a loss that explodes at the start or in between."""
    train = pd.concat([arm.curves[(arm.curves["split"] == "train") & np.isfinite(arm.curves["loss"])] for arm in arms])
    if train.empty:
        return 0.0, 1.0
    begin = train.groupby("hash")["loss"].first().median()
    end = pd.concat([arm.completed["train_loss"] for arm in arms]).max()
    return 0.9 * float(train["loss"].min()), float(np.nanmax([1.15 * begin, 1.1 * end]))
