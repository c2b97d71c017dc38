"""The picture of a network before training: the size of activations and gradients against depth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from .palette import BLACK, GREEN, PURPLE, SKY_BLUE, VERMILION
from .signal_profile import SUM, SignalPoint

# What is drawn alike: title, parts, colour, marker. The first one is a line.
_GROUPS = (
    ("main path", (SUM, "stem", "trunk", "head"), BLACK, "o"),
    ("inside a branch", ("branch", "query", "key", "value", "gate", "recurrent"), SKY_BLUE, "o"),
    ("branch end", ("branch_end",), VERMILION, "v"),
    ("shortcut", ("shortcut",), GREEN, "s"),
    ("embedding", ("embedding", "position"), PURPLE, "D"),
)


def draw_signals(signals: Sequence[SignalPoint], title: str) -> Figure:
    """Draws signals in order of depth, from input to output.

    Args:
        signals: What `signal_profile` found.
        title: Heading of the figure.

    Returns:
        A figure with activations above and gradients below, on logarithmic axes. Signals of size zero are at the bottom.
    """
    figure = Figure(figsize=(8, 5.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    _draw(upper, signals, [signal.activation for signal in signals])
    _draw(lower, signals, [signal.gradient for signal in signals])
    upper.set_ylabel("activation, RMS")
    lower.set_ylabel("gradient, RMS")
    lower.set_xlabel("layer, from input to output")
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    parts = {signal.part for signal in signals}
    handles = [_handle(name, colour, marker) for name, group, colour, marker in _GROUPS if parts & set(group)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure


def _draw(axes: Axes, signals: Sequence[SignalPoint], sizes: Sequence[float]) -> None:
    values = np.array(sizes)
    seen = values[(values > 0) & np.isfinite(values)]
    lowest, highest = (seen.min(), seen.max()) if seen.size else (1.0, 1.0)
    missing = max(2 - np.log10(highest / lowest), 0) / 2  # a decade and its neighbours, so that small differences look small
    bottom, top = lowest / 10**missing, highest * 10**missing
    margin = (top / bottom) ** 0.06
    floor = bottom / margin  # where zeros are drawn: below all that is not zero
    depth = np.arange(1, len(signals) + 1)
    for _, group, colour, marker in _GROUPS:
        own = np.array([signal.part in group for signal in signals])
        if not own.any():
            continue
        if group is _GROUPS[0][1]:
            axes.plot(depth[own], np.maximum(values[own], floor), color=colour, linewidth=1, zorder=2)
        for zero in (False, True):
            some = own & ((values == 0) == zero)
            face = "white" if zero else colour
            axes.plot(
                depth[some],
                np.maximum(values[some], floor),
                marker,
                color=colour,
                markerfacecolor=face,
                markersize=3.5,
                zorder=3,
            )
    axes.set_yscale("log")
    axes.yaxis.set_minor_locator(NullLocator())
    has_zeros = bool((values == 0).any())
    axes.set_ylim((floor if has_zeros else bottom) / margin, top * margin)
    if has_zeros:
        axes.set_yticks([tick for tick in axes.get_yticks() if bottom <= tick <= top])  # none below the line of zeros
        axes.axhline(floor, color="#999999", linewidth=0.6, linestyle=(0, (1, 2)), zorder=1)
        axes.annotate(
            "0",
            (0, floor),
            xycoords=("axes fraction", "data"),
            xytext=(-4, 0),
            textcoords="offset points",
            ha="right",
            va="center",
        )
    axes.grid(color="#E5E5E5", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _handle(name: str, colour: str, marker: str) -> Line2D:
    width = 1 if name == _GROUPS[0][0] else 0
    return Line2D([], [], color=colour, marker=marker, linewidth=width, markersize=4, label=name)
