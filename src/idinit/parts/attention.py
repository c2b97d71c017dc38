"""Finds attention: a softmax of products of queries and keys that is multiplied with values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..graph.dataflow import Flow
from ..graph.node import Node, unmoved
from ..graph.operators import NORMS, PRODUCTS, REARRANGEMENTS, SOFTMAXES
from ..graph.traversal import walk_back
from .exclusive import exclusive, leading_to

FUSED = "scaled_dot_product_attention"
# Operators allowed between the product of queries and keys, the softmax, and the product with the values.
_ELEMENTWISE = {
    "add", "sub", "mul", "div", "rsub", "neg", "exp", "log", "tanh", "sigmoid", "clamp", "clamp_min", "clamp_max", "maximum",
    "minimum", "where", "masked_fill", "nan_to_num", "gather", "cat", "pad", "constant_pad_nd", "index_put", "write", "copy",
}  # fmt: skip
_MAX_HEADS = 64


@dataclass
class Attention:
    """One attention.

    Attributes:
        operands: What enters it as ``query``, ``key`` and ``value``, and products with learned tables of positions.
        inside: Indices of the nodes that hold scores or probabilities, or what they are made of.
        products: Indices of the nodes that multiply probabilities with values; the fused operator does.
    """

    operands: list[tuple[str, Node]] = field(default_factory=list)
    inside: set[int] = field(default_factory=set)
    products: set[int] = field(default_factory=set)


def find_attention(flow: Flow) -> Iterator[Attention]:
    """Finds every attention, and notes in the flow that the probabilities are coefficients of the values."""
    for node in flow.nodes:
        if node.op == FUSED:
            attention = Attention([(name, node.arguments[name]) for name in ("query", "key", "value")], products={node.index})
            attention.operands = [(name, n) for name, n in attention.operands if flow.active[n.index]]
            if isinstance(mask := node.arguments.get("attn_mask"), Node):
                _add_scores(flow, mask, attention)
            yield attention
        elif node.op in SOFTMAXES and flow.active[node.index]:
            attention = Attention()
            _add_scores(flow, node.inputs[0], attention)
            _add_values(flow, node, attention)
            if not any(name == "key" for name, _ in attention.operands):  # the other factor is a learned parameter
                attention.operands = [("query" if n == "position" else n, node) for n, node in attention.operands]
            # Without any query, the probabilities are an ordinary gate.
            if attention.products and any(name == "query" for name, _ in attention.operands):
                yield attention


def find_added_scores(flow: Flow, products: frozenset[int]) -> frozenset[int]:
    """The nodes that make the scores of additive attention (Bahdanau et al. 2015), up to the maps of queries and memory.

    Args:
        flow: The graph.
        products: The products with values of attentions whose scores are products too.
    """
    found = 0
    for index, gate in flow.coefficients.items():
        if index not in products and (softmax := unmoved(gate)).op in SOFTMAXES:
            walk = walk_back(flow, softmax)
            found |= walk.passed & exclusive(flow, gate)[0]
            for value in (value for use in walk.maps for value in flow.values(use.node)):
                found |= walk_back(flow, value).passed & leading_to(flow, value)[0]
    return frozenset(n.index for n in flow.nodes if found >> n.index & 1)


def _factors(flow: Flow, product: Node) -> list[Node]:
    added = product.arguments.get("self") if {"mat1", "batch1"} & product.arguments.keys() else None
    return [n for n in flow.operands(product) if n is not added]


def _add_scores(flow: Flow, logits: Node, attention: Attention) -> None:
    """Goes back to the products of queries and keys that the scores are made of.

    The softmax runs over the last dimension, which is the keys': the product's second factor, unless it is transposed.
    """
    queue = [(logits, ("query", "key"))]
    while queue:
        node, names = queue.pop()
        if node.index in attention.inside:
            continue
        if node.op in PRODUCTS and len(factors := _factors(flow, node)) < 3:
            attention.operands += zip(names, factors, strict=True) if len(factors) == 2 else [("position", node)]
        elif node.op in _ELEMENTWISE | REARRANGEMENTS or _mixes_heads(node):
            queue += [(n, names[::-1] if _swaps_last(node) else names) for n in flow.operands(node)]
        else:
            continue
        attention.inside.add(node.index)


def _add_values(flow: Flow, softmax: Node, attention: Attention) -> None:
    """Goes on from the probabilities to their products with values."""
    queue = [(softmax, user) for user in softmax.users]
    while queue:
        source, node = queue.pop()
        if node.index in attention.inside or node.index in attention.products:
            continue
        if node.op in PRODUCTS and len(_factors(flow, node)) == 2:
            attention.products.add(node.index)
            attention.operands += [("value", n) for n in _factors(flow, node) if n is not source]
            flow.coefficients[node.index] = source
        elif node.op == "mul" and len(flow.operands(node)) > 1:
            continue  # an ordinary gate
        elif node.op in _ELEMENTWISE | REARRANGEMENTS | NORMS or _mixes_heads(node):
            queue += [(node, user) for user in node.users]
            attention.inside.add(node.index)


def _mixes_heads(node: Node) -> bool:
    """Whether a map mixes the scores of the heads (Shazeer et al. 2020, "Talking-heads attention")."""
    weight = node.arguments.get("weight")
    return isinstance(weight, Node) and len(weight.shape) > 1 and weight.shape[0] == weight.shape[1] <= _MAX_HEADS


def _swaps_last(node: Node) -> bool:
    count = len(node.shape)
    return node.op == "transpose" and {node.arguments[d] % count for d in ("dim0", "dim1")} == {count - 1, count - 2}
