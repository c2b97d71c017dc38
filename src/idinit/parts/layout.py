"""How a parameter holds the matrices of a linear map: which of its dimensions number outputs, which inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch

from ..graph.dataflow import Flow, Use
from ..graph.node import Node
from ..graph.operators import PRODUCTS, RECURRENT
from .recurrent import blocks
from .row_labels import labels_at, numbered

Dims = tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """How a parameter holds matrices.

    Attributes:
        outputs: Dimensions that number a matrix' outputs, slowest first.
        inputs: Dimensions that number its inputs.
        kernel: Dimensions of a convolution's kernel. The dimensions left over number independent matrices, such as those
            of a mixture's experts.
        chunks: Matrices side by side along dimension 0: groups of a convolution, gates of a recurrent layer.
        stride: Of a convolution, the largest of its steps.
    """

    outputs: Dims = (0,)
    inputs: Dims = (1,)
    kernel: Dims = ()
    chunks: int = 1
    stride: int = 1


def find_layout(flow: Flow, use: Use) -> Layout | None:
    """How the parameter of a linear map holds its matrices; None where that is not known."""
    roles = _roles(use)
    parameter = next(n for n in flow.nodes if n.op == "parameter" and n.name == use.parameter)
    origins = _origins(use.operand, parameter)
    if roles is None or origins is None:
        return None
    outputs, inputs, kernel = (tuple(sorted(d for dim in dims for d in origins[dim])) for dims in roles)
    chunks = len(blocks(use)) if use.node.op in RECURRENT else use.node.arguments.get("groups", 1)
    if flow.active[use.operand.index]:  # a kernel for each example, all in one call as groups
        chunks = max(1, chunks * prod(parameter.shape) // prod(use.operand.shape))
    stride = largest_step(use.node.arguments.get("stride", 1))
    return Layout(outputs, inputs, kernel, chunks, stride) if chunks == 1 or origins[0] == (0,) else None


def largest_step(stride: int | Sequence[int]) -> int:
    """The largest step of a convolution, whose stride is one number or one for each dimension."""
    return stride if isinstance(stride, int) else max(stride)


def _roles(use: Use) -> tuple[Dims, Dims, Dims] | None:
    """The dimensions of an operator's weight that number outputs, inputs, and a kernel's positions."""
    node, arguments, last = use.node, use.node.arguments, len(use.operand.shape) - 1
    if node.op in RECURRENT or node.op == "linear":
        return (0,), (1,), ()
    if "conv" in node.op:
        is_transposed = "transpose" in node.op or bool(arguments.get("transposed"))
        return (int(is_transposed),), (1 - int(is_transposed),), tuple(range(2, last + 1))
    if node.op == "einsum":
        return _letters(use)
    is_grouped = "grouped_mm" in node.op  # a mixture's experts
    if not is_grouped and (node.op not in PRODUCTS or node.op == "bilinear" or last < 1):
        return None
    is_second = is_grouped or any(arguments.get(key) is use.operand for key in ("mat2", "other", "batch2"))
    return ((last,), (last - 1,), ()) if is_second else ((last - 1,), (last,), ())


def _letters(use: Use) -> tuple[Dims, Dims, Dims] | None:
    """The roles of a weight's dimensions in an Einstein sum."""
    terms, _, result = use.node.arguments["equation"].replace(" ", "").partition("->")
    operands = list(zip(terms.split(","), use.node.arguments["tensors"], strict=True))
    own = next(letters for letters, tensor in operands if tensor is use.operand)
    others = [letters for letters, tensor in operands if tensor is not use.operand]
    if len(others) != 1 or not result or "." in own:
        return None
    outputs = tuple(i for i, letter in enumerate(own) if letter not in others[0])
    inputs = tuple(i for i, letter in enumerate(own) if letter not in result)
    return None if set(outputs) & set(inputs) else (outputs, inputs, ())


def _origins(operand: Node, parameter: Node) -> list[Dims] | None:
    """For each dimension of what is computed from a parameter, the parameter's dimensions that it runs along."""
    if operand is parameter:
        return [(dim,) for dim in range(len(operand.shape))]
    found: list[Dims] = [() for _ in operand.shape]
    for dim, size in enumerate(parameter.shape):
        try:
            labels = labels_at(operand, parameter, numbered(parameter.shape, dim, size))
        except LookupError:
            return None
        if labels is None:
            return None
        along = [d for d in range(labels.ndim) if not torch.equal(labels, labels.narrow(d, 0, 1).expand_as(labels))]
        if len(along) > 1:
            return None
        for d in along:
            found[d] += (dim,)
    return found
