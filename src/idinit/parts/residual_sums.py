"""Residual sums and gates: the regions of a graph that a value can bypass, or that only scale it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ..graph.dataflow import Flow, Use
from ..graph.node import Node
from ..graph.operators import SAME, SUMS
from ..graph.traversal import walk_back


@dataclass(eq=False)
class Region:
    """A side of a residual sum, or the making of a gate.

    Attributes:
        kind: ``branch``, ``shortcut`` or ``gate``.
        uses: The linear maps in it, in the order of execution.
        operand: What enters the sum; the gate.
        sum: The sum, or the product with the gate.
        reader: The addition that the operand enters; others may follow before the sum is complete.
        shortcut: Of a branch, the side that is the shortcut.
        ends: Of a branch, the last maps. None where they do not decide whether the branch is zero: where a value bypasses
            them inside the branch, or where the branch ends in a product of values that are on a par.
        norms: Of a branch, the normalizations after them.
        others: Of a side, the other addends.
    """

    kind: str
    uses: list[Use]
    operand: Node
    sum: Node
    reader: Node
    shortcut: Region | None = None
    ends: list[Use] = field(default_factory=list)
    norms: list[Node] = field(default_factory=list)
    others: list[Node] = field(default_factory=list)


def find_gates(flow: Flow, attentions: set[int]) -> Iterator[Region]:
    """What makes the coefficients that are multiplied into values, e.g. the two layers of squeeze-excite.

    Args:
        flow: The graph.
        attentions: Products of attention's probabilities with values, which are no gates.
    """
    for index, gate in flow.coefficients.items():
        if index in attentions:
            continue
        node = flow.nodes[index]
        values = flow.values(node)
        uses = _between(flow, gate, values)
        if not uses:  # made of something else than the values: its last maps
            uses = [use for use in walk_back(flow, gate).maps if not any(flow.depends(value, use.node) for value in values)]
        if uses:
            yield Region("gate", uses, gate, node, node)


def find_sides(flow: Flow, sizes: Mapping[str, int], scores: set[int]) -> Iterator[Region]:
    """The sides of every residual sum.

    A residual sum adds values that have an ancestor in common. The shortcut is the side with a way around all maps, or
    else the one with the fewest weights; the others are branches. Where the sides are on a par in this, none of them is a
    shortcut of the others and the sum is none of ours.

    Args:
        flow: The graph.
        sizes: Number of elements of each parameter, which decides between sides with equally many weights.
        scores: Nodes inside attentions, whose sums are none of ours.
    """
    inner: set[int] = set()
    for node in reversed(flow.nodes):
        if node.op not in SUMS or node.index in inner or node.index in scores:
            continue
        terms = _terms(flow, node, inner)
        sides = []
        for term, reader in terms:
            others = [other for other, _ in terms if other is not term]
            uses, walk = _between(flow, term, others), walk_back(flow, term)
            has_way_around = bool(walk.passed & _origins(flow, others))
            has_sums = len(walk.maps) > 1  # branches have been added to it: of two that are on a par, it is the main path
            rank = (not has_way_around, len(uses), not has_sums, sum(sizes[use.parameter] for use in uses))
            sides.append((rank, Region("branch", uses, term, node, reader, None, walk.maps, walk.norms, others)))
            if has_way_around or not walk.is_plain:
                sides[-1][1].ends = []
        if len({rank for rank, _ in sides}) < 2 or not any(side.uses for _, side in sides):
            continue
        _, shortcut = min(sides, key=lambda side: side[0])
        for _, side in sides:
            side.kind = "shortcut" if side is shortcut else "branch"
            side.shortcut = shortcut
            side.ends = [use for use in side.ends if use in side.uses and side is not shortcut]
            if side.uses:
                yield side


def entrances(flow: Flow, side: Region) -> list[Node]:
    """What enters a side: the values that it has in common with what it is added to, and that are read inside it."""
    shared = _origins(flow, side.others)
    found: list[Node] = []
    seen: set[int] = set()
    queue = [side.operand]
    while queue:
        node = queue.pop()
        if node.index in seen or not node.is_float or not flow.active[node.index]:
            continue
        seen.add(node.index)
        if shared >> node.index & 1:
            found.append(node)
        else:
            queue += node.inputs
    return found


def find_forks(flow: Flow, loops: set[str]) -> tuple[int, int]:
    """Where paths with maps of their own run side by side, to be added or concatenated.

    Args:
        flow: The graph.
        loops: Weights of recurrent networks, where the paths are steps in time.

    Returns:
        The set of nodes where such paths join, and the set of the maps on them.
    """
    joins = on_paths = 0
    for node in flow.nodes:
        operands = flow.operands(node)
        if node.op in SUMS | {"cat"} and len(operands) > 1:
            paths = [_between(flow, n, [other for other in operands if other is not n]) for n in operands]
            maps = [use for path in paths for use in path]
            if maps and not any(use.parameter in loops for use in maps):
                joins |= 1 << node.index
                for use in maps:
                    on_paths |= 1 << use.node.index
    return joins, on_paths


def find_loops(flow: Flow) -> set[str]:
    """The weights of hand-written recurrent networks.

    Such a weight is applied to what it made itself, together with something that no earlier step has seen: layers that
    share their weights, in contrast, only see what the layer before them made.
    """
    uses: dict[str, list[Node]] = {}
    for use in flow.maps:
        uses.setdefault(use.parameter, []).append(use.node)
    return {name for name, steps in uses.items() if len(steps) > 2 and _is_fed(flow, steps)}


def _is_fed(flow: Flow, steps: list[Node]) -> bool:
    if not all(flow.depends(after, before) for before, after in zip(steps, steps[1:], strict=False)):
        return False
    new = flow.ancestors[steps[2].index] & ~flow.ancestors[steps[1].index]
    seen = 1 << steps[0].index | 1 << steps[1].index
    fresh = (n for n in flow.nodes[steps[0].index : steps[2].index] if new >> n.index & 1 and flow.fed[n.index])
    return any(not flow.ancestors[n.index] & seen for n in fresh)


def _terms(flow: Flow, node: Node, inner: set[int]) -> list[tuple[Node, Node]]:
    """The addends of a sum of several, each with the addition it enters.

    Sums inside it that nothing else reads are noted as inner. A learned token is an addend where the others are made of it.
    """
    terms = []
    for operand in node.inputs:
        while operand.op in SAME and len(operand.users) == 1:
            operand = operand.inputs[0]
        if operand.op in SUMS and len(operand.users) == 1 and len(flow.operands(operand)) > 1:
            inner.add(operand.index)
            terms += _terms(flow, operand, inner)
        elif operand.is_float and flow.origins(operand):
            terms.append((operand, node))
    made_of = 0
    for term, _ in terms:
        made_of |= flow.ancestors[term.index]
    return [(term, reader) for term, reader in terms if flow.active[term.index] or flow.origins(term) & made_of]


def _between(flow: Flow, end: Node, others: list[Node]) -> list[Use]:
    """The maps on the way from what a value shares with others to the value."""
    rest = _origins(flow, others)
    common = flow.origins(end) & rest
    own = flow.origins(end) & ~rest
    return [u for u in flow.maps if own >> u.node.index & 1 and flow.ancestors[u.node.index] & common]


def _origins(flow: Flow, nodes: list[Node]) -> int:
    found = 0
    for node in nodes:
        found |= flow.origins(node)
    return found
