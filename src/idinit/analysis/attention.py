"""Attention: a softmax of products of queries and keys, whose product with the values goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..graph import Node
from .flow import NORMS, PRODUCTS, REARRANGEMENTS, Flow

FUSED = "scaled_dot_product_attention"
# What may stand between queries' product with keys, the softmax, and the product with the values.
_ELEMENTWISE = {
    "add", "sub", "mul", "div", "rsub", "neg", "exp", "tanh", "clamp", "clamp_min", "clamp_max", "masked_fill", "where", "gather",
    "sigmoid", "nan_to_num", "maximum", "minimum", "bernoulli", "cat", "constant_pad_nd", "pad", "index_put", "write", "log",
}  # fmt: skip


@dataclass
class Attention:
    """One attention.

    Attributes:
        operands: What enters it as ``query``, ``key`` and ``value``.
        inside: Indices of the nodes that hold scores or what they are made of.
    """

    operands: list[tuple[str, Node]]
    inside: set[int] = field(default_factory=set)


def find_attention(flow: Flow) -> Iterator[Attention]:
    """Finds every attention, and tells the flow that the probabilities are coefficients of the values."""
    for node in flow.nodes:
        if node.op == FUSED:
            names = [name for name in ("query", "key", "value") if flow.active[node.arguments[name].index]]
            mask = node.arguments.get("attn_mask")
            inside = _scores(flow, mask)[0] if isinstance(mask, Node) else set()
            yield Attention([(name, node.arguments[name]) for name in names], inside)
        elif node.op in ("softmax", "_softmax") and flow.active[node.index]:
            inside, products = _scores(flow, node.inputs[0])
            operands = [(name, n) for p, names in products for name, n in zip(names, _factors(flow, p), strict=True)]
            for reader, probabilities in _readers(flow, node) if products else ():
                flow.coefficients[reader.index] = probabilities
                yield Attention([*operands, *(("value", n) for n in _factors(flow, reader) if n is not probabilities)], inside)


def _factors(flow: Flow, product: Node) -> list[Node]:
    added = product.arguments.get("self") if {"mat1", "batch1"} & product.arguments.keys() else None
    return [n for n in flow.operands(product) if n is not added]


def _scores(flow: Flow, logits: Node) -> tuple[set[int], list[tuple[Node, tuple[str, str]]]]:
    """What the scores are made of, back to the products of two values, each with what its factors are.

    The softmax runs over the last dimension, which is the keys': the product's second factor, unless it is transposed.
    """
    inside: set[int] = set()
    products = []
    queue = [(logits, ("query", "key"))]
    while queue:
        node, names = queue.pop()
        if node.index in inside:
            continue
        if node.op in PRODUCTS and len(_factors(flow, node)) == 2:
            products.append((node, names))
        elif node.op in _ELEMENTWISE | REARRANGEMENTS or _mixes_heads(node):
            if node.op == "transpose" and {node.arguments[d] % len(node.shape) - len(node.shape) for d in ("dim0", "dim1")} == {-1, -2}:
                names = names[::-1]
            queue += [(n, names) for n in flow.operands(node)]
        else:
            continue
        inside.add(node.index)
    return inside, products


def _readers(flow: Flow, softmax: Node) -> Iterator[tuple[Node, Node]]:
    """The products of the probabilities with values, and what of the probabilities enters each."""
    seen = set()
    queue = [(softmax, user) for user in softmax.users]
    while queue:
        source, node = queue.pop()
        if node.index in seen:
            continue
        seen.add(node.index)
        if node.op in PRODUCTS and len(_factors(flow, node)) == 2:
            yield node, source
        elif node.op in _ELEMENTWISE | REARRANGEMENTS | NORMS or _mixes_heads(node):
            queue += [(node, user) for user in node.users]


def _mixes_heads(node: Node) -> bool:
    """Whether a map acts on the heads of scores, which have at least three dimensions (talking heads)."""
    return "weight" in node.arguments and node.op not in NORMS and len(node.shape) >= 3 and node.shape[-1] <= 64
