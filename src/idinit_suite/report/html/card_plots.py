"""Coordinates of the small plots on cards, in a box of 100 by 30."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

WIDTH, HEIGHT, EDGE = 100.0, 30.0, 4.0


def interval_plot(interval: tuple[float, float, float]) -> dict[str, float]:
    """Places along x of an interval's lower end, value and upper end, and of 0 for no difference."""
    low, value, high = interval
    first, last = min(low, 0.0), max(high, 0.0)
    span = (last - first) or 1.0
    places = {"low": low, "value": value, "high": high, "zero": 0.0}
    return {name: round(EDGE + (WIDTH - 2 * EDGE) * (at - first) / span, 1) for name, at in places.items()}


def lines_plot(curves: Mapping[str, Sequence[tuple[float, float]]]) -> dict[str, str]:
    """The points of each curve as SVG writes them, on common axes that begin at 0."""
    last = max((x for curve in curves.values() for x, _ in curve), default=1.0) or 1.0
    highest = max((y for curve in curves.values() for _, y in curve), default=1.0) or 1.0
    return {
        name: " ".join(
            f"{EDGE + (WIDTH - 2 * EDGE) * x / last:.1f},{HEIGHT - EDGE / 2 - (HEIGHT - EDGE) * y / highest:.1f}"
            for x, y in curve
        )
        for name, curve in curves.items()
    }
