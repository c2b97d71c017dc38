"""Residual sums and gates: the regions of a graph that a value can bypass, or that only scale it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from .flow import NORMS, SUMS, Flow, Use
from .graph import Node


@dataclass(eq=False)
class Region:
    """A side of a residual sum, or the making of a gate.

    Attributes:
        kind: ``branch``, ``shortcut`` or ``gate``.
        uses: The linear maps in it, in the order of execution.
        operand: What enters the sum.
        sum: The sum.
        sides: The other operands of the sum.
    """

    kind: str
    uses: list[Use]
    operand: Node
    sum: Node
    sides: list[Node] = field(default_factory=list)


def find_gates(flow: Flow, maps: list[Use]) -> Iterator[Region]:
    """What makes the coefficients that are multiplied into values, e.g. the two layers of squeeze-excite."""
    for index, gate in flow.coefficients.items():
        node = flow.nodes[index]
        values = flow.values(node)
        uses = _between(flow, maps, gate, values) or [u for u in nearest(flow, maps, gate) if not any(flow.depends(v, u.node) for v in values)]
        if uses:
            yield Region("gate", uses, gate, node)


def find_sides(flow: Flow, maps: list[Use], sizes: dict[str, int], excluded: set[int]) -> Iterator[Region]:
    """The sides of every residual sum.

    A residual sum adds values that have an ancestor in common. The side with the fewest weights is the shortcut, the
    others are branches; where all have the same, none of them is a shortcut of the others and the sum is none of ours.

    Args:
        flow: The graph.
        maps: The linear maps.
        sizes: Number of elements of each parameter, which decides between sides with equally many weights.
        excluded: Sums inside attention's scores.
    """
    inner = set()
    for node in reversed(flow.nodes):
        if node.op not in SUMS or node.index in inner or node.index in excluded:
            continue
        terms = _terms(flow, node, inner)
        if len(terms) < 2:
            continue
        sides = [_between(flow, maps, t, [o for o in terms if o is not t]) for t in terms]
        amounts = [(len(uses), sum(sizes[u.parameter] for u in uses)) for uses in sides]
        if len(set(amounts)) == 1:
            continue
        least = amounts.index(min(amounts))
        for i, (term, uses) in enumerate(zip(terms, sides, strict=True)):
            if uses:
                others = [t for t in terms if t is not term]
                yield Region("shortcut" if i == least else "branch", uses, term, node, [terms[least]] if i != least else others)


def nearest(flow: Flow, maps: list[Use], node: Node, norms: list[Node] | None = None) -> list[Use]:
    """The last linear maps through which values flow to a node; ``norms`` collects the normalizations passed."""
    at: dict[int, list[Use]] = {}
    for use in maps:
        at.setdefault(use.node.index, []).append(use)
    found, seen, queue = [], set(), [node]
    while queue:
        node = queue.pop()
        if node.index in seen:
            continue
        seen.add(node.index)
        if node.index in at:
            found += at[node.index]
            continue
        if norms is not None and node.op in NORMS:
            norms.append(node)
        queue += flow.values(node)
    return sorted(found, key=lambda use: use.node.index)


def _terms(flow: Flow, node: Node, inner: set[int]) -> list[Node]:
    """The addends of a sum of several; the sums inside it that nothing else reads are noted as inner."""
    terms = []
    for operand in flow.operands(node):
        if operand.op in SUMS and len(operand.users) == 1 and len(flow.operands(operand)) > 1:
            inner.add(operand.index)
            terms += _terms(flow, operand, inner)
        else:
            terms.append(operand)
    return terms


def _between(flow: Flow, maps: list[Use], end: Node, others: list[Node]) -> list[Use]:
    """The maps on the way from what a value shares with others to the value."""
    rest = 0
    for other in others:
        rest |= flow.ancestors[other.index]
    common = flow.ancestors[end.index] & rest
    own = flow.ancestors[end.index] & ~rest
    return [u for u in maps if own >> u.node.index & 1 and flow.ancestors[u.node.index] & common]
