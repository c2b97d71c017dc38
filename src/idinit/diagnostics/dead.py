"""Dead weights and units: those that training never moves, or that no example ever uses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ..graph.probe import preserve_state
from .signals import watched


def unmoved(before: Tensor, after: Tensor, tolerance: float = 0.0) -> Tensor:
    """Finds the weights that training has not moved.

    Args:
        before: Initial values, of any shape.
        after: Values after training, of the same shape.
        tolerance: Largest change that counts as none. 0: not a single bit has changed. Weight decay moves every weight
            that is not zero, needed or not: train without it.

    Returns:
        A mask of the same shape.
    """
    return (after - before).abs() <= tolerance


def largest_gradients(
    model: nn.Module, batches: Iterable[tuple[tuple[Any, ...], Tensor]], loss: Callable[[Tensor, Tensor], Tensor]
) -> dict[str, Tensor]:
    """For each entry of each parameter the largest absolute gradient over some batches.

    Where it is exactly 0, no example of these batches feels a small change of that entry: it does not matter to them, and
    gradient descent on them will not move it.

    Args:
        model: Any module, in the mode in which it is.
        batches: Pairs of positional arguments and targets. The smaller the batches, the less can cancel.
        loss: From output and targets to a scalar.

    Returns:
        {name: tensor of the parameter's shape}, for the parameters that take gradients.
    """
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    largest = {name: torch.zeros_like(p) for name, p in parameters.items()}
    with preserve_state(model):
        for inputs, targets in batches:
            gradients = torch.autograd.grad(loss(model(*inputs), targets), list(parameters.values()), allow_unused=True)
            for name, gradient in zip(parameters, gradients, strict=True):
                if gradient is not None:
                    largest[name] = torch.maximum(largest[name], gradient.abs())
    return largest


def largest_activations(model: nn.Module, batches: Iterable[tuple[Any, ...]], modules: Iterable[str]) -> dict[str, Tensor]:
    """For each unit of some modules the largest absolute activation over some batches. A unit with 0 is dead.

    Args:
        model: Any module, in the mode in which it is.
        batches: Positional arguments of forward passes.
        modules: Dotted names of modules whose output is [N, units, ...].

    Returns:
        {module: tensor of shape [units]}.

    Raises:
        UsageError: If a module is not there.
    """
    largest: dict[str, Tensor] = {}

    def record(name: str, output: Tensor) -> None:
        size = output.abs().transpose(0, 1).flatten(1).amax(1)
        largest[name] = torch.maximum(largest[name], size) if name in largest else size

    with watched(model, modules, record), torch.no_grad():
        for inputs in batches:
            model(*inputs)
    return largest
