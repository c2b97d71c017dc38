"""Which rows of a weight reach an operand: one matrix often holds queries, keys and values side by side.

Labels, the numbers of the rows, are sent through the operators that only move values about, and through depthwise convolutions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..graph.dataflow import Flow, Use
from ..graph.node import Node, reach
from ..graph.operators import POOLS, REARRANGEMENTS, SAME
from ..graph.traversal import is_depthwise

_MIXED = POOLS | {"im2col"}  # which take no integers


def rows(flow: Flow, use: Use, operand: Node) -> tuple[int, list[int]]:
    """The rows of a weight whose outputs reach an operand.

    Args:
        flow: The graph.
        use: A linear map.
        operand: A node after it.

    Returns:
        The parameter's dimension that numbers the outputs, and the numbers.

    Raises:
        LookupError: If they cannot be found.
    """
    of_weight, of_output = output_dims(use)
    count = use.operand.shape[of_weight]
    arrived = labels_at(operand, use.node, numbered(use.node.shape, of_output, count))
    if arrived is None:
        raise LookupError(use.parameter)
    seen = torch.zeros(count + 1, dtype=torch.bool)
    seen[arrived.flatten()] = True
    channels = seen[1:].nonzero().flatten().tolist()
    parameter = next(n for n in flow.nodes if n.name == use.parameter and n.op == "parameter")
    if parameter is use.operand:
        return of_weight % len(parameter.shape), channels
    for dim in range(len(parameter.shape)):  # a weight that is cut out of the parameter
        cut = labels_at(use.operand, parameter, numbered(parameter.shape, dim, parameter.shape[dim]))
        if cut is not None:
            lines = cut.movedim(of_weight, 0).flatten(1)
            if bool((lines == lines[:, :1]).all()):
                return dim, sorted({int(lines[c, 0]) - 1 for c in channels} - {-1})
    raise LookupError(use.parameter)


def output_dims(use: Use) -> tuple[int, int]:
    """The dimensions of the weight and of the result that number a map's outputs."""
    node, arguments = use.node, use.node.arguments
    if node.op == "linear":
        return 0, -1
    if node.op.startswith("conv") and "transpose" not in node.op and not arguments.get("transposed"):
        return 0, len(node.shape) - len(use.operand.shape) + 1
    if node.op in ("mm", "matmul", "bmm", "addmm") and arguments.get("mat2", arguments.get("other")) is use.operand:
        return len(use.operand.shape) - 1, -1
    if "grouped_mm" in node.op:  # a mixture's experts
        return len(use.operand.shape) - 1, -1
    raise LookupError(use.parameter)


def numbered(shape: tuple[int, ...], dim: int, count: int) -> Tensor:
    """A tensor of the shape that holds 1, 2, 3, ... along a dimension; 0 stands for what comes from elsewhere."""
    view = [1] * len(shape)
    view[dim] = count
    return torch.arange(1, count + 1, dtype=torch.int32).view(view).expand(shape)


def labels_at(node: Node, source: Node, start: Tensor) -> Tensor | None:
    """The labels that arrive at a node from a source."""
    if node.index < source.index:
        return None
    done: dict[int, Any] = {source.index: start}
    between = reach([node], lambda n: [read for read in n.inputs if read.index > source.index])
    for made in sorted((n for n in between if n.index > source.index), key=lambda n: n.index):
        done[made.index] = _step(made, done)
    return done.get(node.index)


def _step(node: Node, done: dict[int, Any]) -> Any:
    """The labels of a node, by those of its inputs."""
    inputs = [(n, found) for n in node.inputs if (found := done.get(n.index)) is not None]
    if not inputs:
        return None
    first, labels = inputs[0]
    if node.op == "cat":
        return torch.cat([_or_zeros(done.get(n.index), n) for n in node.arguments["tensors"]], node.arguments.get("dim", 0))
    if node.op in _MIXED:
        return _pooled(node, labels)
    if is_depthwise(node):
        return _by_channel(node, labels) if first is node.inputs[0] else None
    if node.op in REARRANGEMENTS and node.op not in SAME:
        return _rearranged(node, labels) if first is node.inputs[0] else None
    is_elementwise = isinstance(labels, Tensor) and _fits(labels.shape, node.shape)
    return labels.expand(node.shape) if is_elementwise else None


def _rearranged(node: Node, labels: Any) -> Any:
    if node.op == "getitem":
        return labels[node.arguments["1"]]
    if node.op in ("view", "view_as", "_unsafe_view", "reshape_as"):  # labels are not laid out in memory as values are
        return labels.reshape(node.shape)
    if node.op == "expand_as":
        return labels.expand(node.shape)
    first = node.inputs[0]
    return node.call(**{name: labels if value is first else _concrete(value) for name, value in node.arguments.items()})


def _pooled(node: Node, labels: Tensor) -> Tensor | None:
    """Labels after pooling; None where it mixes rows with different numbers."""
    first = node.inputs[0]
    pooled = node.call(**{k: labels.float() if v is first else _concrete(v) for k, v in node.arguments.items()})
    return pooled.int() if bool((pooled == pooled.round()).all()) else None


def _by_channel(node: Node, labels: Tensor) -> Tensor | None:
    """Labels after a depthwise convolution; None where those of a channel differ."""
    kernel: Node = node.arguments["weight"]
    dim = len(node.shape) - len(kernel.shape) + 1
    lines = labels.flatten(dim + 1)
    if not bool((lines == lines[..., :1]).all()):
        return None
    repeated = lines[..., 0].repeat_interleave(node.shape[dim] // labels.shape[dim], dim)
    return repeated.reshape(*repeated.shape, *[1] * (len(kernel.shape) - 2)).expand(node.shape)


def _or_zeros(labels: Tensor | None, node: Node) -> Tensor:
    return torch.zeros(node.shape, dtype=torch.int32) if labels is None else labels


def _fits(shape: tuple[int, ...], into: tuple[int, ...]) -> bool:
    """Whether a tensor of one shape can be expanded to another."""
    return len(shape) <= len(into) and all(a in (1, b) for a, b in zip(shape[::-1], into[::-1], strict=False))


def _concrete(value: Any) -> Any:
    """An argument with constants in place of nodes, e.g. the indices of an indexing."""
    if isinstance(value, (list, tuple)):
        return [_concrete(v) for v in value]
    while isinstance(value, Node) and value.op in SAME | {"lift_fresh_copy"}:
        value = value.inputs[0]
    if isinstance(value, Node) and value.op != "constant":
        raise LookupError(value.op)
    return value.value if isinstance(value, Node) else value
