"""Weights and units of residual branches that training leaves dead (claim C12)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product
from typing import Annotated, Any, Literal, get_args

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional as F

from idinit.diagnostics import largest_activations, largest_gradients, unmoved

from ..base import STUDIES, Cell, Row, Setting
from ..tools.short_training import Recipe, ShortTraining

Start = Literal[
    "fixup", "rezero", "zero_end", "idiz_1e-6", "idiz_1e-4", "idiz_1e-2", "zero_end_projection",
    "zero_gamma", "rezero_bn", "zero_end_bn", "idiz_1e-6_bn", "idiz_1e-2_bn", "zero_gamma_projection",
]  # fmt: skip

_BN = {"norm": "batch"}
_PROJECTION = {"shortcut": "projection"}
_STARTS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {  # initializer, its options, the model's
    "fixup": ("fixup", {}, {}),
    "rezero": ("rezero", {}, {}),
    "zero_end": ("idinit", {"eps": 0.0}, {}),
    "idiz_1e-6": ("idinit", {"eps": 1e-6}, {}),
    "idiz_1e-4": ("idinit", {"eps": 1e-4}, {}),
    "idiz_1e-2": ("idinit", {"eps": 1e-2}, {}),
    "zero_end_projection": ("idinit", {"eps": 0.0}, _PROJECTION),
    "zero_gamma": ("zero_gamma", {}, _BN),
    "rezero_bn": ("rezero", {}, _BN | {"last_activation": "branch"}),
    "zero_end_bn": ("idinit", {"eps": 0.0}, _BN),
    "idiz_1e-6_bn": ("idinit", {"eps": 1e-6}, _BN),
    "idiz_1e-2_bn": ("idinit", {"eps": 1e-2}, _BN),
    "zero_gamma_projection": ("zero_gamma", {}, _BN | _PROJECTION),
}
TOLERANCES = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)  # of the root mean square of all changes in branches
MAP_DECADES = (-6, 1)  # of changes over their root mean square
MAP_LEVELS = ".abcdefghi"


@STUDIES.register("dead")
def dead(
    setting: Setting,
    *,
    starts: tuple[Start, ...] = get_args(Start),
    data: Literal["digits", "cifar10"] = "digits",
    shrink: Literal[1, 2, 4] = 4,
    depth: int = 20,
    batch: Annotated[int, Field(ge=1)] = 64,
    rate: PositiveFloat = 0.05,
    steps: Annotated[int, Field(ge=1)] = 300,
    seeds: tuple[int, ...] = (0, 1),
) -> Iterator[Cell]:
    """ResNets are trained by SGD with momentum and no weight decay; then the weights of their branches are compared.

    Args:
        setting: Where it is computed.
        starts: ``zero_end`` is IDInit with exact zeros at the end of each branch, ``idiz_EPS`` with IDIZ(EPS); ``_bn``: with
            BatchNorm; ``_projection``: 1x1 convolutions in the place of shortcuts padded with zeros.
        data: The images.
        shrink: Factor by which they are made smaller.
        depth: Layers of the ResNet.
        batch: Examples in a step.
        rate: Learning rate, constant after a warm-up.
        steps: Updates.
        seeds: Of everything random.
    """
    recipe = Recipe(setting, data, shrink, batch, "sgd", rate, steps)
    for start, seed in product(starts, seeds):
        yield Cell(f"{start}, seed {seed}", partial(_measure, recipe, depth, start, seed, first=seed == seeds[0]))


def _measure(recipe: Recipe, depth: int, start: Start, seed: int, *, first: bool) -> Iterator[Row]:
    method, options, model = _STARTS[start]
    training = ShortTraining(recipe, method, options, {"depth": depth, **model}, seed)
    net = training.net
    parts = {row.parameter: row.part for row in training.report.rows if row.part in ("branch", "branch_end")}
    before = {name: net.get_parameter(name).detach().clone() for name in parts}
    training.run()
    if not math.isfinite(training.losses[-1]):
        yield Row("shares", {"start": start, "seed": seed, "part": "both", "loss": math.nan})
        return
    changes = {name: net.get_parameter(name).detach() - before[name] for name in parts}
    typical = torch.cat([change.flatten() for change in changes.values()]).square().mean().sqrt().item()
    gradients = largest_gradients(net, training.examples, F.cross_entropy)
    units = _dead_units(net, training)
    last = sum(training.losses[-10:]) / len(training.losses[-10:])
    for part in ("branch", "branch_end", "both"):
        names = [name for name in parts if part in (parts[name], "both")]
        for tolerance in TOLERANCES:
            still = [unmoved(before[name], net.get_parameter(name).detach(), tolerance * typical) for name in names]
            yield Row("unmoved", {"start": start, "seed": seed, "part": part, "tolerance": tolerance, "share": _share(still)})
        no_gradient = _share([gradients[name] == 0 for name in names])
        place = {"start": start, "seed": seed, "part": part}
        yield Row("shares", {**place, "no_gradient": no_gradient, "dead_units": units[part], "loss": last})
    if first:
        name = [name for name, part in parts.items() if part == "branch_end"][-1]
        for index, levels in enumerate(as_map(changes[name], typical)):
            yield Row("maps", {"start": start, "layer": name, "row": index, "levels": levels})


def _share(masks: Sequence[Tensor]) -> float:
    return torch.cat([mask.flatten() for mask in masks]).double().mean().item()


def _dead_units(net: nn.Module, training: ShortTraining) -> dict[str, float]:
    """Share of channels that are 0 for every example: inside the branches, after the residual sums, and of both."""
    inside = [name for name, _ in net.named_modules() if name.endswith("branch.act1")]
    sums = [name.removesuffix(".branch.act1") for name in inside]
    sizes = largest_activations(net, [inputs for inputs, _ in training.examples], [*inside, *sums])
    found = {"branch": [sizes[name] == 0 for name in inside], "branch_end": [sizes[name] == 0 for name in sums]}
    return {part: _share(masks) for part, masks in (found | {"both": [*found["branch"], *found["branch_end"]]}).items()}


def as_map(change: Tensor, typical: float) -> list[str]:
    """The change of each weight as a letter of `MAP_LEVELS`: none at all, then equal ratios over `MAP_DECADES`.

    Args:
        change: Of a convolution, [out, in, *kernel]; of the taps the one that moved most counts.
        typical: The change to compare with.

    Returns:
        A string of letters for each output.
    """
    moved = change.abs().flatten(2).amax(2).double() / typical
    low, high = MAP_DECADES
    levels = 1 + (len(MAP_LEVELS) - 2) * ((moved.log10() - low) / (high - low)).clamp(0, 1)
    letters = torch.where(moved > 0, levels.round(), torch.zeros_like(levels)).int()
    return ["".join(MAP_LEVELS[level] for level in row) for row in letters.tolist()]
