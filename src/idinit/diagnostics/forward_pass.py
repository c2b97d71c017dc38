"""Saturated softmaxes, the largest numbers and dead activation functions of one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..graph.dataflow import Flow
from ..graph.evaluate import evaluate
from ..graph.node import Graph, Node
from ..graph.operators import PRODUCTS
from ..graph.probe import tensors_in
from .flat import flat_readers

_FEW = 4  # choices; a softmax of fewer says little
_SOFTMAX = ("softmax", "_softmax", "_safe_softmax")
_ATTENTION = "scaled_dot_product_attention"


@dataclass(frozen=True)
class Softmax:
    """How evenly a softmax spreads.

    Attributes:
        module: Dotted name of the module in which it is.
        evenness: Entropy over its largest possible value, on average: 1 where all choices are equal, 0 where one has all.
        choices: The largest number of values that it chooses among.
    """

    module: str
    evenness: float
    choices: int


@dataclass(frozen=True)
class Peak:
    """The largest number that an operator with weights puts out: its module, and the absolute value."""

    module: str
    value: float


def watch_forward(flow: Flow, graph: Graph, inputs: Sequence[Any]) -> tuple[list[Softmax], list[Peak], list[str]]:
    """Evaluates a graph and measures its softmaxes, attention's among them, the peaks of its products, and what is flat.

    Args:
        flow: What depends on what in the graph.
        graph: What `capture` recorded.
        inputs: The values of its inputs.

    Returns:
        The softmaxes, the peaks, and the names of the modules with a dead activation function; see `flat_readers`.

    Raises:
        UsageError: If the network's operators cannot be run one by one.
    """
    operands: dict[int, Tensor] = {}
    needed = {n.index for node in graph.nodes if node.op == _ATTENTION for n in node.inputs}
    softmaxes: list[Softmax] = []
    peaks: list[Peak] = []
    flat: list[str] = []

    def watch(node: Node, value: Any) -> Any:
        if node.index in needed:
            operands[node.index] = value
        if node.op in _SOFTMAX and isinstance(value, Tensor):
            softmaxes.extend(_softmax(node, value.movedim(node.arguments.get("dim", -1), -1)))
        elif node.op == _ATTENTION:
            softmaxes.extend(_softmax(node, _probabilities(node, operands)))
        elif "weight" in node.arguments or node.op in PRODUCTS:
            found = [t.detach() for t in tensors_in(value)[:1] if t.is_floating_point() and t.numel()]
            peaks.extend(Peak(_module(node), peak) for t in found if (peak := float(t.abs().max())) != torch.finfo(t.dtype).max)
        flat.extend(flat_readers(flow, node, value))
        return value

    with torch.no_grad():
        evaluate(graph, inputs, watch)
    return softmaxes, peaks, list(dict.fromkeys(flat))


def _softmax(node: Node, probabilities: Tensor) -> list[Softmax]:
    """The record of a softmax over the last dimension; none where it has few choices."""
    p = probabilities.detach().float().flatten(0, -2) if probabilities.ndim > 1 else probabilities.detach().float()[None]
    choices = (p > 0).sum(1)
    rows = p[choices >= _FEW]
    if not len(rows):
        return []
    largest = choices[choices >= _FEW].float().log()
    evenness = float((torch.special.entr(rows).sum(1) / largest).mean())
    return [Softmax(_module(node), evenness, int(choices.max()))]


def _probabilities(node: Node, operands: dict[int, Tensor]) -> Tensor:
    """The probabilities of one example's fused attention."""

    def operand(name: str) -> Tensor | None:
        given = node.arguments.get(name)
        return operands[given.index].detach().float() if isinstance(given, Node) else None

    query, key, mask = operand("query"), operand("key"), operand("attn_mask")
    assert query is not None and key is not None
    if node.arguments.get("enable_gqa"):
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
    scale = node.arguments.get("scale") or query.shape[-1] ** -0.5
    logits = query @ key.transpose(-2, -1) * scale
    if isinstance(given := node.arguments.get("attn_mask"), Node) and mask is not None:
        is_choice = operands[given.index].dtype == torch.bool
        logits = logits.masked_fill(mask == 0, -torch.inf) if is_choice else logits + mask
    if node.arguments.get("is_causal"):
        logits = logits.masked_fill(torch.ones(logits.shape[-2:], dtype=torch.bool).triu(1), -torch.inf)
    return logits.softmax(-1).nan_to_num(0)


def _module(node: Node) -> str:
    return node.scope[-1][1] if node.scope else ""
