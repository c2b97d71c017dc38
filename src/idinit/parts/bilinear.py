"""Products of two values that layers make of one input, with no activation function to say which is the gate."""

from __future__ import annotations

from math import prod

from ..graph.dataflow import Flow
from ..graph.node import Node, unmoved
from ..graph.traversal import walk_back
from .exclusive import is_split


def note_bilinear_gates(flow: Flow, attentions: frozenset[int]) -> frozenset[str]:
    """Notes in the flow that the first factor of ``a(x) * b(x)`` is a coefficient, as in ``silu(a(x)) * b(x)``.

    So it is in bilinear gated linear units (Shazeer 2020) and in NAFNet's simple gate, whose factors are halves of one layer's
    output. Alike in all, two such layers would stay copies of each other if a method filled both by one rule without
    randomness.

    Args:
        flow: The graph.
        attentions: Nodes inside attentions, which are left out.

    Returns:
        The names of the linear maps that make these factors.
    """
    found = set()
    for node in flow.nodes:
        if node.op != "mul" or node.index in attentions or node.index in flow.coefficients:
            continue
        if any(user.op == "sum" and user.arguments.get("dim") for user in node.users):  # a product of matrices, or a score
            continue
        factors = flow.operands(node)
        if len(factors) == 2 and prod(factors[0].shape) == prod(factors[1].shape) and _are_made_alike(flow, *factors):
            flow.coefficients[node.index] = factors[0]
            found |= {use.parameter for use in walk_back(flow, factors[0]).maps}
    return frozenset(found)


def _are_made_alike(flow: Flow, one: Node, other: Node) -> bool:
    """Whether two values are outputs of layers of one input, or different pieces of the output of a layer."""
    makers = [walk_back(flow, factor).maps for factor in (one, other)]
    if any(len(maps) != 1 for maps in makers):
        return False
    (first,), (second,) = makers
    if first.node is second.node:
        return is_split(first)
    return [unmoved(n) for n in flow.values(first.node)] == [unmoved(n) for n in flow.values(second.node)]
