"""Going back along the values from a node to the maps that made them."""

from __future__ import annotations

from dataclasses import dataclass, field

from .dataflow import Flow, Use
from .node import Node
from .operators import PRODUCTS


@dataclass
class Walk:
    """The way back from a node along the values: the last maps, and what is passed before them.

    Attributes:
        maps: The last maps through which values flow to the node.
        norms: The normalizations after them.
        is_plain: Whether no product of two values, neither of which is only a coefficient, is passed.
        passed: The set of nodes up to these maps.
    """

    maps: list[Use] = field(default_factory=list)
    norms: list[Node] = field(default_factory=list)
    is_plain: bool = True
    passed: int = 0


def walk_back(flow: Flow, node: Node, stop: frozenset[int] = frozenset()) -> Walk:
    """Goes back from a node to the last maps; ``stop`` holds indices of nodes not to go beyond."""
    walk, queue = Walk(), [node]
    while queue:
        node = queue.pop()
        if walk.passed >> node.index & 1 or node.index in stop:
            continue
        walk.passed |= 1 << node.index
        if node.index in flow.maps_at:
            walk.maps += flow.maps_at[node.index]
            continue
        if node.index in flow.norms:
            walk.norms.append(node)
        values = flow.values(node)
        made = [n for n in values if flow.ancestors[n.index] & flow.at_maps]  # others are given, such as a graph's edges
        walk.is_plain &= len(made) < 2 or node.op not in PRODUCTS | {"mul"}
        queue += values
    walk.maps.sort(key=lambda use: use.node.index)
    return walk
