"""Activation functions that let no gradient through: every unit is where the slope is zero, in every example."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..graph.dataflow import Flow
from ..graph.evaluate import run
from ..graph.node import Node
from ..graph.traversal import walk_back

_FUNCTIONS = {
    *("relu", "relu6", "threshold", "clamp", "clamp_min", "hardtanh", "gelu", "silu", "hardswish", "mish", "elu", "selu"),
    *("celu", "softplus", "sigmoid", "hardsigmoid", "tanh"),
}
_FLAT = 1e-6
_FEW = 16  # units; all of fewer may be negative by chance


def flat_readers(flow: Flow, node: Node, value: Any) -> Iterator[str]:
    """The modules with an activation function that reads a value and is flat at all of it, where layers have made the value.

    Values that are all zero do not count: what makes them so may move, which `check_zeros` finds out.

    Args:
        flow: A network's graph.
        node: A node of it.
        value: What the node is in a forward pass.
    """
    for user in node.users:
        if user.op in _FUNCTIONS and flow.active[node.index] and user.inputs == (node,) and _is_flat(user, node, value):
            makers = [use.node for use in walk_back(flow, node).maps]
            if makers and min(map(_units, makers)) >= _FEW:
                yield user.scope[-1][1] if user.scope else ""


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
