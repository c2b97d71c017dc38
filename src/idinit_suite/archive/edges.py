"""Learning rates that were picked at an edge of those searched: a better one may lie outside."""

from __future__ import annotations

from collections.abc import Iterable

_MARKS = {"highest": " ↑", "lowest": " ↓"}
LEGEND = "↑ or ↓: the highest or lowest learning rate that was searched; a better one may lie beyond it."


def edge(searched: Iterable[float], picked: float) -> str:
    """The place of a learning rate among those searched.

    Args:
        searched: The learning rates of a variant's search runs, in any order.
        picked: The one that was used afterwards.

    Returns:
        ``highest`` or ``lowest``; an empty string where it lies between others, is not among them or is the only one.
    """
    rates = sorted(set(searched))
    if len(rates) < 2:
        return ""
    return {rates[-1]: "highest", rates[0]: "lowest"}.get(picked, "")


def marked(rate: float, edge: str) -> str:
    """A learning rate in characters, with an arrow where it is at an `edge`."""
    return f"{rate:g}{_MARKS.get(edge, '')}"


def with_legend(text: str, edges: Iterable[str], separator: str = " ") -> str:
    """A text that goes with `marked` learning rates, with the meaning of the arrows where there are any."""
    return f"{text}{separator}{LEGEND}" if any(edges) else text
