"""The depth up to which residual networks without normalization learn, by initializer (claim C1)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Annotated, Literal, get_args

from pydantic import Field, PositiveFloat

from idinit.parts import Structure

from ..base import STUDIES, Cell, Row, Setting
from ..tools.short_training import Recipe, ShortTraining

Start = Literal["default", "xavier", "kaiming", "fixup", "skipinit", "rezero", "zero", "idinit"]

TAIL = 10  # steps at the end whose mean loss counts


@STUDIES.register("depth")
def depth(
    setting: Setting,
    *,
    depths: tuple[Annotated[int, Field(ge=8)], ...] = (8, 20, 56, 110, 302, 1002),
    starts: tuple[Start, ...] = get_args(Start),
    data: Literal["digits", "cifar10"] = "digits",
    shrink: Literal[1, 2, 4] = 4,
    batch: Annotated[int, Field(ge=1)] = 16,
    rates: tuple[PositiveFloat, ...] = (0.001, 0.01),
    steps: Annotated[int, Field(ge=TAIL)] = 100,
    seeds: tuple[int, ...] = (0, 1),
) -> Iterator[Cell]:
    """ResNets without normalization take a fixed number of Adam steps; the last losses show whether they learn.

    Args:
        setting: Where it is computed.
        depths: Layers, 6n + 2.
        starts: Initializers, with their defaults.
        data: The images.
        shrink: Factor by which they are made smaller.
        batch: Examples in a step.
        rates: Learning rates, constant after a warm-up; each start is shown at its best.
        steps: Updates.
        seeds: Of everything random.
    """
    structures: dict[int, Structure] = {}  # of a thousand layers they take seconds to find

    def measure(layers: int, start: Start, rate: float, seed: int) -> Iterator[Row]:
        recipe = Recipe(setting, data, shrink, batch, "adam", rate, steps)
        training = ShortTraining(recipe, start, {}, {"depth": layers}, seed, structures.get(layers))
        structures[layers] = training.structure
        training.run()
        tail = training.losses[-TAIL:]
        diverged = not math.isfinite(training.losses[-1])
        values = {"steps": len(training.losses), "loss": math.nan if diverged else sum(tail) / len(tail)}
        yield Row("losses", {"depth": layers, "start": start, "rate": rate, "seed": seed, **values})

    for layers, start, rate, seed in product(depths, starts, rates, seeds):
        yield Cell(f"depth {layers}, {start}, lr {rate:g}, seed {seed}", partial(measure, layers, start, rate, seed))
