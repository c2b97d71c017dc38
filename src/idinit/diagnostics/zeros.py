"""Where zeros are safe: one zero factor on each path, never two in a row.

The gradient of a factor is the product of the others on its path. A single zero factor thus receives a gradient and moves at
the first step, while the others of its path wait for it; two zero factors on one path keep each other at zero forever.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ..graph.own_inputs import inputs_of
from ..graph.probe import Inputs, call_arguments, gradients
from ..parts.classify import Analysis, analyze
from ..tables import text_table
from .blocked import Zeros

_RATE = 1e-3
_NOISE = 0.02


@dataclass(frozen=True)
class Zero:
    """A parameter that multiplies what flows through it, and is zero.

    Attributes:
        parameter: Its name.
        part: Its part.
        step: The first step of gradient descent that moves it: 1, or later where others have to move before; None if none
            ever does.
        path: Where none does, the zero factors that keep each other at zero, in the order of the forward pass. It alone, where
            what stops it is an activation function whose slope is 0 at zero; none, where it would not move either if it were
            not zero, as the output does not depend on it.
    """

    parameter: str
    part: str
    step: int | None
    path: tuple[str, ...] = ()


@dataclass(frozen=True)
class ZeroCheck:
    """What `check_zeros` found: ``str(check)`` is a table.

    Attributes:
        zeros: Every zero factor.
        starved: Other parameters that no step ever moves because of them.
    """

    zeros: tuple[Zero, ...]
    starved: tuple[str, ...]

    @property
    def violations(self) -> tuple[tuple[str, ...], ...]:
        """The zero factors that keep each other, or themselves, at zero; empty where zeros are safe."""
        return tuple(dict.fromkeys(zero.path for zero in self.zeros if zero.path))

    def __str__(self) -> str:
        rows = [
            (zero.parameter, zero.part, "nothing, ever" if zero.step is None else f"step {zero.step}", " -> ".join(zero.path))
            for zero in self.zeros
        ]
        table = text_table(("zero factor", "part", "first moved by", "zeros in a row"), rows)
        counts = (len(self.zeros), len(self.violations), len(self.starved))
        return f"{table}\n\nzero factors: {counts[0]}; stuck paths: {counts[1]}; starved besides: {counts[2]}"


@torch.inference_mode(False)  # gradients are measured
def check_zeros(model: nn.Module, example_inputs: Inputs | None = None, *, analysis: Analysis | None = None) -> ZeroCheck:
    """Finds zero factors that training can never move, and names the zeros that are in their way.

    A few steps of gradient descent on copies of the parameters, with a generic loss and in training mode, show which zeros
    move; the graph of a forward pass shows what keeps the others at zero. The model is left as it was. A parameter is a zero
    factor if all of it is zero and it multiplies what flows; zeros that are added, such as a bias, do not count.

    Args:
        model: Any module, initialized.
        example_inputs: A tensor, a tuple of the forward pass' arguments, or a mapping of keyword ones; None where the model
            describes its inputs, see `idinit.initialize_`. With other inputs, other units may be active: take more than one
            example.
        analysis: What `analyze` found in them, where it has been called already.

    Returns:
        The zero factors, in the order of the forward pass.

    Raises:
        UsageError: If the model does not run on the inputs.
    """
    example_inputs = inputs_of(model, example_inputs)
    analysis = analysis or analyze(model, example_inputs)
    graph, flow, parts = analysis.graph, analysis.flow, analysis.parts
    inputs = tree_leaves(call_arguments(model, example_inputs))
    values = {name: parameter.detach().clone() for name, parameter in model.named_parameters() if parameter.requires_grad}
    factors = [name for name in Zeros(graph, flow, inputs, values).factors if name in values]
    steps = first_steps(model, example_inputs, values)
    stuck = [name for name in factors if name not in steps]
    left = Zeros(graph, flow, inputs, values)
    freed = _freed(model, example_inputs, values, stuck)
    paths = {name: left.path(name) for name in stuck if freed[name] is not None}
    paths = {name: path for name, path in paths.items() if len(path) > 1 or name in moved(freed)}
    found = [Zero(name, parts[name], steps.get(name), paths.get(name, ())) for name in factors]
    starved = set(moved(freed)) - steps.keys() - set(stuck)
    return ZeroCheck(tuple(found), tuple(name for name in values if name in starved))


def _freed(
    model: nn.Module, example_inputs: Inputs, values: Mapping[str, Tensor], stuck: list[str]
) -> dict[str, Tensor | None]:
    """The gradients that there would be if the factors that are stuck were not zero."""
    if not stuck:
        return {}
    generator = torch.Generator().manual_seed(0)
    noise = {name: _NOISE * torch.randn(values[name].shape, generator=generator).to(values[name]) for name in stuck}
    return gradients(model, example_inputs, {**values, **noise})[1]


def first_steps(model: nn.Module, example_inputs: Inputs, values: dict[str, Tensor]) -> dict[str, int]:
    """Trains, with a generic loss, until no more parameters begin to move.

    Args:
        model: Any module; it is left as it was.
        example_inputs: The forward pass' arguments.
        values: The parameters that are trained, by name; they get new values in place.

    Returns:
        For each parameter that moves, the first step that moves it, from 1.
    """
    found: dict[str, int] = {}
    for step in itertools.count(1):
        _, gradients_now = gradients(model, example_inputs, values)
        news = [name for name in moved(gradients_now) if name not in found]
        if not news:
            break
        found |= dict.fromkeys(news, step)
        for name, gradient in gradients_now.items():
            if gradient is not None:
                values[name].sub_(gradient.sgn(), alpha=_RATE)  # a step that tiny gradients take as well
    return found


def moved(found: Mapping[str, Tensor | None]) -> list[str]:
    """The parameters that a step with these gradients moves."""
    return [name for name, gradient in found.items() if gradient is not None and bool(gradient.any())]
