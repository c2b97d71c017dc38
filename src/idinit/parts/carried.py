"""Which values that enter one addend of a sum another addend carries as well, and through how many layers."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod

from ..graph.addition import addends
from ..graph.dataflow import Flow
from ..graph.node import Node, reach, unmoved
from ..graph.traversal import is_depthwise, walk_back
from .exclusive import exclusive
from .made_matrices import sums_of

_LAYER, _FAR = 1000, 10**9


@dataclass
class Term:
    """An addend: the addition it enters, and the nodes that lead to it and nowhere else, with the values that enter these."""

    operand: Node
    reader: Node
    members: int
    entrances: list[Node]


_CONDITION = 3  # layers through each of which, alone, a value enters sums: one shortcut has one projection


def find_conditions(flow: Flow) -> set[int]:
    """Values that conditions are made of, such as a time step: each of several sums adds a projection of them."""
    layers: dict[int, set[int]] = {}
    for node in flow.nodes:
        if not adds_values(flow, node):
            continue
        for at in {at for term in addends(node) for at in _sources(flow, term) & flow.maps_at.keys()}:
            for index in {index for value in flow.values(flow.nodes[at]) for index in _sources(flow, value)}:
                layers.setdefault(index, set()).add(at)
    return {index for index, through in layers.items() if len(through) >= _CONDITION}


def find_carried(flow: Flow, shortcut: Term, branch: Term, conditions: set[int]) -> tuple[int, list[Node]]:
    """Of what enters a branch, the values that another term carries, and the number of layers they go through there.

    A value that enters the branch may be read elsewhere as well, as what WaveNet's blocks make of their input. Then the
    branch goes on behind it, where the shortcut itself enters.

    What is projected and added to the main path inside a branch, such as ``l(x) + e(t)`` with the same t in each block, is
    carried by both as well, and no shortcut: t is a condition, or the branch has a sum with the shortcut of its own x.

    Args:
        flow: The graph.
        shortcut: The other term.
        branch: The term that may be a branch of it.
        conditions: See `find_conditions`.
    """
    members = branch.members
    layers, found = _find_carried(flow, shortcut, branch)
    if layers and (_is_condition(flow, branch, found, conditions) or _is_bypassed(flow, shortcut, branch, found)):
        branch.members = members
        return 0, []
    return layers, found


def _is_condition(flow: Flow, branch: Term, entrances: list[Node], conditions: set[int]) -> bool:
    """Whether what enters a branch is a condition: other layers of the branch, on the main path, are not made of it."""
    entered = {n.index for n in entrances}
    own = sum(1 << index for index in entered)
    layers = (index for index in flow.maps_at if branch.members >> index & 1)
    return entered <= conditions and any(not flow.ancestors[index] & own for index in layers)


def _is_bypassed(flow: Flow, shortcut: Term, branch: Term, entrances: list[Node]) -> bool:
    """Whether a sum inside a branch has a shortcut that comes from elsewhere: the branch is the main path then."""
    entered = {n.index for n in entrances}
    own, known = sum(1 << index for index in entered), entered | _sources(flow, shortcut.operand)
    for node in flow.nodes:
        if not branch.members >> node.index & 1 or not adds_values(flow, node):
            continue
        for term in addends(node):
            if not any(flow.ancestors[other.index] & own for other in addends(node) if other is not term):
                continue
            for index in _sources(flow, term) - known:
                is_outside = not branch.members >> index & 1 and bool(flow.ancestors[index] & flow.at_maps)
                if is_outside and prod(flow.nodes[index].shape) == prod(node.shape):
                    return True
    return False


def _find_carried(flow: Flow, shortcut: Term, branch: Term) -> tuple[int, list[Node]]:
    if not flow.active[shortcut.operand.index]:  # a learned token that the branch is made of
        is_made_of = flow.origins(shortcut.operand) & flow.ancestors[branch.operand.index]
        return (0, [shortcut.operand]) if is_made_of and branch.members & flow.at_maps else (0, [])
    sources = {entrance.index: _sources(flow, entrance) for entrance in branch.entrances}
    lowest = min((min(found) for found in sources.values()), default=0)
    carried = _carried(flow, shortcut.operand, lowest)
    inside = _costs(branch.operand, partial(_price, flow), partial(_members_of, flow, branch))
    has_maps, is_plain = branch.members & flow.at_maps, not shortcut.members & flow.at_maps
    fits = []
    for entrance in branch.entrances:
        cost = min((carried[index] for index in sources[entrance.index] if index in carried), default=_FAR)
        is_deeper = cost < inside.get(entrance.index, 0) or (cost == 0 and is_plain)
        if has_maps and is_deeper and _flows_into(flow, branch, sources[entrance.index] & carried.keys()):
            fits.append((cost, entrance))
    if fits:
        least = min(cost for cost, _ in fits)
        found = [entrance for cost, entrance in fits if cost == least]
        made = [n for n in found if flow.ancestors[n.index] & flow.at_maps]  # others are given, such as a graph's edges
        return least // _LAYER, made or found
    return _carries_behind(flow, shortcut, branch)


def _flows_into(flow: Flow, branch: Term, indices: set[int]) -> bool:
    """Whether one of some values that enter a branch flows into it, and does not only scale its elements one by one."""
    if not any(branch.members >> index & 1 for index in flow.coefficients):
        return True
    lowest = min(indices)

    def before(node: Node) -> list[Node]:
        is_scaled = node.op in ("mul", "div") and not sums_of(node)
        factor = flow.coefficients.get(node.index) if is_scaled else None
        return [n for n in node.inputs if n.index >= lowest and n is not factor]

    return any(n.index in indices for n in reach([branch.operand], before))


def _carried(flow: Flow, end: Node, lowest: int) -> dict[int, int]:
    """What flows into a node through no layer, or through a projection and no other sum, and what that counts."""

    def late(values: list[Node]) -> list[Node]:
        return [n for n in values if n.index >= lowest]

    price = partial(_price, flow)
    projected = _costs(end, price, lambda node: late(_addends_passed(flow, node)), 2 * _LAYER)
    return projected | _costs(end, price, lambda node: late(flow.values(node)), _LAYER)


def _members_of(flow: Flow, branch: Term, node: Node) -> list[Node]:
    return [n for n in node.inputs if flow.ancestors[n.index]] if branch.members >> node.index & 1 else []


def _carries_behind(flow: Flow, shortcut: Term, branch: Term) -> tuple[int, list[Node]]:
    """The same where a value that enters the branch and is read elsewhere is itself made of what the shortcut is."""
    if not branch.members & flow.at_maps:
        return 0, []
    direct = _sources(flow, shortcut.operand)
    projected = {
        index for at in direct & flow.maps_at.keys() for n in flow.values(flow.nodes[at]) for index in _sources(flow, n)
    }
    for entrance in branch.entrances:
        members, entering = exclusive(flow, entrance)
        for layers, carried in enumerate((direct, projected)):
            found = [n for n in entering if (known := _sources(flow, n) & carried) and _flows_into(flow, branch, known)]
            if members & flow.at_maps and found:
                entered = sum(1 << index for index in {n.index for n in found})
                inside = (n.index for n in flow.nodes[: entrance.index + 1] if members >> n.index & 1)
                branch.members |= sum(1 << index for index in inside if flow.ancestors[index] & entered)
                return layers, found
    return 0, []


def adds_values(flow: Flow, node: Node) -> bool:
    """Whether a node adds values that flow, and not just a bias or a position."""
    return sum(flow.ancestors[n.index] != 0 for n in addends(node)) > 1


def modulated(flow: Flow, node: Node) -> Node | None:
    """The addend that a sum shifts by a condition which scales it as well, as in FiLM and SPADE; None for other sums.

    The condition may be made of the value that it acts on, as in squeeze-excite, where it is the same for all positions.
    """
    terms = addends(node)
    for scaled, shift in zip(terms, terms[::-1], strict=True) if len(terms) == 2 else ():
        gate, values = flow.coefficients.get(scaled.index), flow.values(scaled)
        if gate is None or len(values) != 1:
            continue
        conditions = [{read.index for use in walk_back(flow, n).maps for read in flow.values(use.node)} for n in (gate, shift)]
        made_by = walk_back(flow, values[0]).maps
        known = [unmoved(values[0]), *(use.node for use in made_by)]  # a coupling shifts one piece by what it makes of another
        is_apart = prod(shift.shape) < prod(node.shape) or not any(flow.depends(shift, n) for n in known)
        if conditions[0] == conditions[1] != set() and is_apart:
            return scaled
    return None


def _addends_passed(flow: Flow, node: Node) -> list[Node]:
    """The values that a node passes on; of a sum, the one that it only modulates."""
    if not adds_values(flow, node):
        return flow.values(node)
    value = modulated(flow, node)
    return [] if value is None else [value]


def _sources(flow: Flow, node: Node) -> set[int]:
    """A value, and what it was before normalizations, activation functions, rearrangements, concatenations and conditions."""

    def before(node: Node) -> list[Node]:
        is_made = node.index in flow.maps_at
        return [] if is_made else [n for n in _addends_passed(flow, node) if flow.ancestors[n.index]]

    return {n.index for n in reach([node], before)}


def _costs(end: Node, price: Callable[[Node], int], inputs: Callable[[Node], list[Node]], limit: int = _FAR) -> dict[int, int]:
    """For each value that flows into a node, the least price of the nodes on the way, its own not counted."""
    found: dict[int, int] = {}
    heap = [(0, -end.index, end)]
    while heap:
        cost, _, node = heapq.heappop(heap)
        if node.index in found:
            continue
        found[node.index] = cost
        if (behind := cost + price(node)) < limit:
            for read in inputs(node):
                if read.index not in found:
                    heapq.heappush(heap, (behind, -read.index, read))
    return found


def _price(flow: Flow, node: Node) -> int:
    """What a node counts on a way: a layer, or next to nothing for a depthwise convolution, or nothing."""
    return 0 if node.index not in flow.maps_at else 1 if is_depthwise(node) else _LAYER
