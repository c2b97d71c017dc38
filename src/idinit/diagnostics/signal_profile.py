"""How large signals are: activations on the way forward, gradients on the way back, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ..graph.dataflow import Use
from ..graph.evaluate import evaluate
from ..graph.node import Node
from ..graph.probe import Inputs, call_arguments, generic_loss, tensors_in
from ..parts.classify import Analysis, analyze

SUM = "residual sum"


@dataclass(frozen=True)
class SignalPoint:
    """The size of the signal at one place of a network.

    Attributes:
        name: Of a layer, its weight; of a residual sum, the module in which it is.
        part: The weight's part, or ``residual sum``.
        activation: Root mean square of what the layer, or the sum, puts out.
        gradient: Root mean square of the loss' gradient with respect to that; 0 where none arrives.
    """

    name: str
    part: str
    activation: float
    gradient: float


def signal_profile(model: nn.Module, example_inputs: Inputs, *, analysis: Analysis | None = None) -> list[SignalPoint]:
    """Measures the signal behind every layer and every residual sum, in one forward and backward pass.

    The pass is that of training without its randomness: batch normalization uses the batch's statistics, nothing is
    dropped. The loss is `generic_loss`. The model is left as it was.

    Args:
        model: Any module.
        example_inputs: A tensor, a tuple of the forward pass' arguments, or a mapping of keyword ones.
        analysis: What `analyze` found in them, where it has been called already.

    Returns:
        The signals in the order of execution.

    Raises:
        UsageError: If the model does not run on the inputs, has operators that cannot be run one by one, or if its output
            does not depend on its parameters.
    """
    analysis = analysis or analyze(model, example_inputs)
    places = _places(analysis)
    tensors: dict[int, Tensor] = {}

    def watch(node: Node, value: Any) -> Any:
        if node.index not in places:
            return value
        tensors[node.index] = tensors_in(value)[0]  # recurrent layers return their last state as well
        return value.clone() if isinstance(value, Tensor) else value  # to be written to: what is measured stays as it is

    with torch.enable_grad():
        output = evaluate(analysis.graph, tree_leaves(call_arguments(model, example_inputs)), watch)
        tensors = {index: tensor for index, tensor in tensors.items() if tensor.requires_grad}
        gradients = torch.autograd.grad(generic_loss(output), list(tensors.values()), allow_unused=True)
    return [
        SignalPoint(*places[index], root_mean_square(tensor), 0.0 if gradient is None else root_mean_square(gradient))
        for (index, tensor), gradient in zip(tensors.items(), gradients, strict=True)
    ]


def _places(analysis: Analysis) -> dict[int, tuple[str, str]]:
    """Names and parts of what is measured, by the index of its node."""
    uses = (use for use in analysis.flow.uses if use.role in ("weight", "recurrent", "embedding"))
    places = {use.node.index: (use.parameter, _part(analysis, use)) for use in uses}
    for side in analysis.sides:
        places[side.sum.index] = (side.sum.scope[-1][1] if side.sum.scope else "", SUM)
    return places


def _part(analysis: Analysis, use: Use) -> str:
    part = analysis.parts.get(use.parameter, "unknown")
    return "head" if part == "embedding" and use.role == "weight" else part  # a tied embedding, at its other place


def root_mean_square(value: Tensor) -> float:
    """Root mean square of a tensor's elements; 0 where it has none."""
    return float(torch.linalg.vector_norm(value.detach().double()) / max(value.numel(), 1) ** 0.5)
