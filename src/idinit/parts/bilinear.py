"""Products of two values that layers make of one input, with no activation function to say which is the gate."""

from __future__ import annotations

from math import prod

from ..graph.dataflow import Flow, Use
from ..graph.node import unmoved
from ..graph.traversal import makers, walk_back
from .exclusive import is_split
from .made_matrices import sums_of


def note_bilinear_gates(flow: Flow, attentions: frozenset[int]) -> frozenset[str]:
    """Notes in the flow that the first factor of ``a(x) * b(x)`` is a coefficient, as in ``silu(a(x)) * b(x)``.

    So it is in bilinear gated linear units (Shazeer 2020) and in NAFNet's simple gate, whose factors are halves of one layer's
    output. Alike in all, two such layers would stay copies of each other if a method filled both by one rule without
    randomness.

    Args:
        flow: The graph.
        attentions: Nodes inside attentions, which are left out, as are products that are summed up to scores.

    Returns:
        The names of the linear maps that make these factors.
    """
    found = set()
    for node in flow.nodes:
        if node.op != "mul" or node.index in attentions or node.index in flow.coefficients or sums_of(node):
            continue
        factors = flow.operands(node)
        if len(factors) == 2 and all(prod(factor.shape) == prod(node.shape) for factor in factors):
            made_by = [walk_back(flow, factor).maps for factor in factors]
            if all(len(maps) == 1 for maps in made_by) and _are_alike(flow, made_by[0][0], made_by[1][0]):
                flow.coefficients[node.index] = factors[0]
                found |= {use.parameter for maps in makers(flow, factors[0]) for use in maps}
    return frozenset(found)


def _are_alike(flow: Flow, one: Use, other: Use) -> bool:
    """Whether two maps have one input, or are one map whose output is split."""
    if one.node is other.node:
        return is_split(flow, one)
    return [unmoved(n) for n in flow.values(one.node)] == [unmoved(n) for n in flow.values(other.node)]
