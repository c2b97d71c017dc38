"""Going back along the values from a node to the maps that made them."""

from __future__ import annotations

from dataclasses import dataclass, field

from .dataflow import Flow, Use
from .node import Node, reach
from .operators import PRODUCTS, SUMS

_AWAY_FROM_ZERO = {"sigmoid", "hardsigmoid", "exp", "softmax", "_softmax", "softplus", "cos"}


@dataclass
class Walk:
    """The way back from a node along the values: the last maps, and what is passed before them.

    Attributes:
        maps: The last maps through which values flow to the node.
        norms: The normalizations after them.
        is_plain: Whether no product is passed of two values that are zero together: neither is only a coefficient, or the
            coefficient is made of the other one, and is zero with it.
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
        walk.is_plain &= node.op != "mul" or not any(_is_zero_with(flow, flow.coefficients.get(node.index), n) for n in values)
        queue += values
    walk.maps.sort(key=lambda use: use.node.index)
    return walk


def makers(flow: Flow, node: Node) -> list[list[Use]]:
    """The last maps on the way to a node, and where these treat each channel by itself, the last ones before, and so on."""
    found = [walk_back(flow, node).maps]
    while found[-1] and all(is_depthwise(use.node) for use in found[-1]):
        before = (maker for use in found[-1] for n in flow.values(use.node) for maker in walk_back(flow, n).maps)
        found.append(list(dict.fromkeys(before)))
    return [maps for maps in found if maps]


def is_depthwise(node: Node) -> bool:
    """Whether a node is a convolution of each channel by itself."""
    kernel = node.arguments.get("weight")
    return node.arguments.get("groups", 1) > 1 and isinstance(kernel, Node) and len(kernel.shape) > 2 and kernel.shape[1] == 1


def _is_zero_with(flow: Flow, gate: Node | None, value: Node) -> bool:
    """Whether a gate is made by layers of the value that it multiplies, and of nothing that is not zero where the value is."""
    if gate is None or not flow.depends(gate, value):
        return False
    way = list(reach([gate], lambda n: [] if n is value else flow.values(n)))
    is_made = any(n.index in flow.maps_at and flow.depends(n, value) for n in way)
    is_lifted = any(n.op in _AWAY_FROM_ZERO or (n.op in SUMS and len(flow.operands(n)) == 1) for n in way)
    return is_made and not is_lifted and all(n is value or flow.depends(n, value) for n in way)
