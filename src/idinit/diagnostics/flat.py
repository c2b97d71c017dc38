"""Activation functions that let no gradient through: every unit is where the slope is zero, in every example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..graph.dataflow import Flow
from ..graph.evaluate import evaluate, run
from ..graph.node import Graph, Node
from ..graph.traversal import walk_back

_FUNCTIONS = {
    *("relu", "relu6", "threshold", "clamp", "clamp_min", "hardtanh", "gelu", "silu", "hardswish", "mish", "elu", "selu"),
    *("celu", "softplus", "sigmoid", "hardsigmoid", "tanh"),
}
_FLAT = 1e-6
_FEW = 16  # units; all of fewer may be negative by chance


def flat_activations(graph: Graph, flow: Flow, inputs: Sequence[Any]) -> list[str]:
    """Names the modules with an activation function that is flat wherever layers have brought its inputs.

    Inputs that are all zero do not count: what makes them so may move, which `check_zeros` finds out.

    Args:
        graph: A forward pass.
        flow: The same.
        inputs: The values of its inputs.

    Raises:
        UsageError: If the network's operators cannot be run one by one.
    """
    found: list[str] = []

    def watch(node: Node, value: Any) -> Any:
        for user in node.users:
            if user.op in _FUNCTIONS and flow.active[node.index] and user.inputs == (node,) and _is_flat(user, node, value):
                makers = [use.node for use in walk_back(flow, node).maps]
                if makers and min(map(_units, makers)) >= _FEW:
                    found.append(user.scope[-1][1] if user.scope else "")
        return value

    with torch.no_grad():
        evaluate(graph, inputs, watch)
    return list(dict.fromkeys(found))


def _is_flat(function: Node, argument: Node, value: Any) -> bool:
    """Whether the slope of an activation function is zero at all of some values, which are not all zero."""
    if not isinstance(value, Tensor) or not value.is_floating_point() or not value.any():
        return False
    with torch.enable_grad():
        x = value.detach().clone().requires_grad_()
        total = run(function, {argument.index: x.clone()}).sum()  # of a copy, as the function may write to it
    (slope,) = torch.autograd.grad(total, x)
    return bool((slope.abs() <= _FLAT).all())


def _units(node: Node) -> int:
    """How many channels a layer puts out."""
    return node.shape[1] if node.op.startswith("conv") and len(node.shape) > 2 else node.shape[-1]
