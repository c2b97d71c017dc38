"""Weights that do the same in one layer after another, and how their spread changes with depth."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import linear_regression

from ..parts.structure import Structure
from .looks import Looks

_LEAST = 4  # layers, before a dependence on depth is believed
_FEWEST = 6  # a factor of 1/sqrt(n) with a smaller n may be there for other reasons, as a gain of 1/sqrt(2)
_BIN = 0.04  # of log(std)
_BODY = ("trunk", "branch", "branch_end", "shortcut", "gate", "query", "key", "value")


@dataclass(frozen=True)
class Matrix:
    """A linear map of a network, or an embedding, as it is.

    Attributes:
        parameter: Name of the parameter that holds it.
        part: What it does.
        shape: (out, in, *kernel) of one of its matrices.
        looks: What its values look like.
    """

    parameter: str
    part: str
    shape: tuple[int, ...]
    looks: Looks


@dataclass(frozen=True)
class Series:
    """Matrices of the same part, shape and place in their branch, from the first layer to the last.

    Attributes:
        matrices: The matrices.
        exponent: The p of a spread that changes as (layer + 1)^p; 0 where it is the same, None where it is not such a power.
    """

    matrices: tuple[Matrix, ...]
    exponent: float | None

    @property
    def part(self) -> str:
        """The part of all of them."""
        return self.matrices[0].part

    @property
    def names(self) -> tuple[str, ...]:
        """The names of their parameters."""
        return tuple(matrix.parameter for matrix in self.matrices)


def find_series(matrices: Sequence[Matrix], structure: Structure) -> list[Series]:
    """Sorts matrices into series, in the order of each one's first."""
    places = {name: (len(b.weights) - i, b.end) for b in structure.branches for i, name in enumerate(b.weights)}
    kinds = {b.end: tuple(structure.parts.get(name, "") for name in b.weights) for b in structure.branches}
    found: dict[object, list[Matrix]] = {}
    for matrix in matrices:
        place, end = places.get(matrix.parameter, (0, ""))
        found.setdefault((matrix.part, matrix.shape, place, kinds.get(end)), []).append(matrix)
    return [Series(tuple(group), _exponent([matrix.looks for matrix in group])) for group in found.values()]


def _exponent(looks: Sequence[Looks]) -> float | None:
    """The slope of log(std) over log(layer + 1), where that is a line, within what chance makes of it."""
    if not all(0 < look.std < math.inf for look in looks):
        return None
    logs = [math.log(look.std) for look in looks]
    noise = 4 * max((2 * look.size) ** -0.5 for look in looks)
    if max(logs) - min(logs) <= max(noise, 0.02):
        return 0.0
    if len(looks) < _LEAST:
        return None
    x = [math.log(i + 1) for i in range(len(logs))]
    slope, intercept = linear_regression(x, logs)
    off = max(abs(b - intercept - slope * a) for a, b in zip(x, logs, strict=True))
    return round(slope, 3) if off <= max(noise, 0.03) else None


def depth_factors(series: Sequence[Series], branches: int) -> dict[int, float]:
    """Finds the series whose weights are smaller than most by a factor that depends on the number of layers.

    Most weights are those, at least half of the matrices inside the network, that share one standard deviation or one spread
    (a deviation times the square root of the fan-in). The factor is 1/sqrt(n), with n the number of residual branches, or
    half of it, or twice.

    Returns:
        The factor, or 1, by the index of each series that has either.
    """
    body = [m for s in series for m in s.matrices if m.part in _BODY and m.looks.std > 0]
    others = [m for m in body if m.part != "branch_end"]
    best: tuple[int, float, bool] = (0, 0.0, False)
    for by_spread in (False, True):
        counts = Counter(round(math.log(_size(m, by_spread)) / _BIN) for m in others)
        for key, count in counts.items():
            near = count + counts.get(key + 1, 0)
            best = max(best, (near, math.exp(_BIN * (key + (near > count) / 2)), by_spread))
    shared, base, by_spread = best
    if branches < _FEWEST or not shared or 2 * shared < len(others):
        return {}
    possible = {1.0} | {n**-0.5 for n in (branches, branches / 2, 2 * branches) if n >= _FEWEST}
    found: dict[int, float] = {}
    for index, one in enumerate(series):
        if one.part in _BODY and one.exponent == 0:
            sizes = sorted(_size(m, by_spread) / base for m in one.matrices if m.looks.std > 0)
            middle = sizes[len(sizes) // 2]
            found |= ((index, factor) for factor in possible if abs(math.log(middle / factor)) < 0.06)
    return found


def _size(matrix: Matrix, by_spread: bool) -> float:
    return matrix.looks.spread if by_spread else matrix.looks.std
