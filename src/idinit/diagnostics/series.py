"""Weights that do the same in one layer after another, and how their spread changes with depth."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
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


# What rules make the same in all weights: the standard deviation, times the root of one of these functions of the fans, those
# of one group of a convolution, and of the number of groups.
_FANS: tuple[Callable[[int, int, int], float], ...] = (
    lambda fan_in, fan_out, groups: 1,
    lambda fan_in, fan_out, groups: fan_in,
    lambda fan_in, fan_out, groups: fan_out,
    lambda fan_in, fan_out, groups: fan_out * groups,  # as torch counts
    lambda fan_in, fan_out, groups: (fan_in + fan_out) / 2,  # Xavier
    lambda fan_in, fan_out, groups: (fan_in + fan_out * groups) / 2,
    lambda fan_in, fan_out, groups: max(fan_in, fan_out),  # orthogonal matrices, and partial identities
)


def depth_factors(series: Sequence[Series], branches: int) -> dict[int, float]:
    """Finds the series whose weights are smaller than most by a factor that depends on the number of layers.

    Most weights are those, at least half of the matrices inside the network, that share one size: one standard deviation, or
    one times the root of a fan. Of several such sizes that one counts by which the most matrices have a factor or none, and
    of these the one with the fewest factors, as ratios of fans can look like factors. The factor is 1/sqrt(n), with n the
    number of residual branches, or half of it, or twice.

    Returns:
        The factor, or 1, by the index of each series that has either.
    """
    if branches < _FEWEST:
        return {}
    possible = {1.0} | {n**-0.5 for n in (branches, branches / 2, 2 * branches) if n >= _FEWEST}
    body = {i: one for i, one in enumerate(series) if one.part in _BODY}
    best: tuple[tuple[int, int, int], dict[int, float]] = ((0, 0, 0), {})
    for fan in _FANS:
        sizes = {i: _sizes(one, fan) for i, one in body.items()}
        for base in _shared([size for i, one in body.items() if one.part != "branch_end" for size in sizes[i]]):
            found: dict[int, float] = {}
            for i, one in body.items():
                if one.exponent == 0:
                    found |= ((i, factor) for factor in possible if abs(math.log(sizes[i][0] / base / factor)) < 0.06)
            best = max(best, (_plausibility(series, found), found), key=lambda reading: reading[0])
    return best[1]


def _sizes(series: Series, fan: Callable[[int, int, int], float]) -> list[float]:
    """The sizes of matrices that are not zero; where only chance makes them differ, the one in the middle for all."""
    shape, looks = series.matrices[0].shape, series.matrices[0].looks
    root = fan(looks.fan_in, shape[0] * math.prod(shape[2:]), looks.size // math.prod(shape)) ** 0.5
    sizes = sorted(matrix.looks.std * root for matrix in series.matrices if matrix.looks.std > 0)
    return [sizes[len(sizes) // 2]] * len(sizes) if series.exponent == 0 else sizes


def _shared(sizes: Sequence[float]) -> Iterator[float]:
    """The sizes that at least half of some weights have."""
    counts = Counter(round(math.log(size) / _BIN) for size in sizes)
    for key, count in counts.items():
        near = count + counts.get(key + 1, 0)
        if 2 * near >= len(sizes):
            yield math.exp(_BIN * (key + (near > count) / 2))


def _plausibility(series: Sequence[Series], found: Mapping[int, float]) -> tuple[int, int, int]:
    """How many matrices have a factor or none, how few factors there are, of ends and of others, and how many have none."""
    counts = {i: len(series[i].matrices) for i in found}
    factors = {(series[i].part == "branch_end", factor) for i, factor in found.items()}
    return sum(counts.values()), -len(factors), sum(count for i, count in counts.items() if found[i] == 1)
