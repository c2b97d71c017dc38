"""Heads whose outputs are multiplied with those of other heads, as in encoders of pairs whose embeddings are compared."""

from __future__ import annotations

from collections.abc import Collection

from ..graph.dataflow import Flow
from ..graph.operators import PRODUCTS
from ..graph.traversal import walk_back

_MULTIPLICATIONS = PRODUCTS | {"mul", "cosine_similarity"}


def find_multiplied(flow: Flow, heads: Collection[str]) -> frozenset[str]:
    """The heads that make several factors of one product: all zero, none of them would ever move.

    A coefficient, such as the scale that a coupling makes, is one at zero and no such factor.

    Args:
        flow: The graph.
        heads: Names of the last weights of a network.
    """
    found: set[str] = set()
    for node in flow.nodes:
        if node.op in _MULTIPLICATIONS and len(factors := flow.values(node)) > 1:
            made_by = [{use.parameter for use in walk_back(flow, factor).maps}.intersection(heads) for factor in factors]
            if sum(map(bool, made_by)) > 1:
                found.update(*made_by)
    return frozenset(found)
