"""Maps of two hyper-parameters: where in a grid of recipes an initializer trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from .variants import Variant, varied


@dataclass(frozen=True)
class Map:
    """One variant of an experiment over a grid of two hyper-parameters.

    Attributes:
        name: The variant.
        keys: What is varied along x and along y, e.g. ``optim.lr`` and ``optim.weight_decay``.
        x: Values along x, ascending.
        y: Values along y, ascending.
        cells: The runs at (x, y).
    """

    name: str
    keys: tuple[str, str]
    x: tuple[Any, ...]
    y: tuple[Any, ...]
    cells: dict[tuple[Any, Any], Variant]

    @property
    def trains(self) -> int:
        """Number of cells of which every run trains."""
        return sum(variant.failures == 0 for variant in self.cells.values())


def maps(variants: Sequence[Variant]) -> dict[str, Map]:
    """The variants as maps by name, where each has runs at every point of one grid of two numbers; else none."""
    keys = varied(variants)
    if len(keys) != 2 or not all(isinstance(variant.recipe.get(key), int | float) for variant in variants for key in keys):
        return {}
    x, y = (tuple(sorted({variant.recipe[key] for variant in variants})) for key in keys)
    found = {}
    for name in sorted({variant.name for variant in variants}):
        cells = {(variant.recipe[keys[0]], variant.recipe[keys[1]]): variant for variant in variants if variant.name == name}
        if cells.keys() == set(product(x, y)):
            found[name] = Map(name, (keys[0], keys[1]), x, y, cells)
    return found
