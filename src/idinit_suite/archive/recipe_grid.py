"""Maps of two hyper-parameters: where in a grid of recipes an initializer trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from .variants import Arm, varied


@dataclass(frozen=True)
class Map:
    """One arm of an experiment over a grid of two hyper-parameters.

    Attributes:
        name: The arm.
        keys: What is varied along x and along y, e.g. ``optim.lr`` and ``optim.weight_decay``.
        x: Values along x, ascending.
        y: Values along y, ascending.
        cells: The runs at (x, y).
    """

    name: str
    keys: tuple[str, str]
    x: tuple[Any, ...]
    y: tuple[Any, ...]
    cells: dict[tuple[Any, Any], Arm]

    @property
    def trains(self) -> int:
        """Number of cells of which every run trains."""
        return sum(arm.failures == 0 for arm in self.cells.values())


def maps(arms: Sequence[Arm]) -> dict[str, Map]:
    """The arms as maps by name, where each has runs at every point of one grid of two hyper-parameters; else none."""
    keys = varied(arms)
    if len(keys) != 2:
        return {}
    x, y = (tuple(sorted({arm.recipe[key] for arm in arms})) for key in keys)
    found = {}
    for name in sorted({arm.name for arm in arms}):
        cells = {(arm.recipe[keys[0]], arm.recipe[keys[1]]): arm for arm in arms if arm.name == name}
        if cells.keys() == set(product(x, y)):
            found[name] = Map(name, (keys[0], keys[1]), x, y, cells)
    return found
