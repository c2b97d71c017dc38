"""Paths that run side by side in a graph: the maps on them, where they join, and which of them are steps in time."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..graph.addition import addends
from ..graph.dataflow import Flow, Use
from ..graph.node import Node, reach, unmoved
from ..graph.operators import REARRANGEMENTS, RECURRENT, SOFTMAXES, ZEROS

_PIECES = {"select", "slice", "narrow", "getitem", "unbind"}


def between(flow: Flow, end: Node, others: list[Node]) -> list[Use]:
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
        operands = [n for n in addends(node) or (flow.operands(node) if node.op == "cat" else []) if flow.ancestors[n.index]]
        if len(operands) > 1:
            paths = [between(flow, n, [other for other in operands if other is not n]) for n in operands]
            maps = [use for path in paths for use in path]
            if maps and not any(use.parameter in loops for use in maps):
                joins |= 1 << node.index
                for use in maps:
                    on_paths |= 1 << use.node.index
    return joins, on_paths


def find_loops(flow: Flow) -> set[str]:
    """The weights of hand-written recurrent networks.

    Such a weight is applied to what it made itself, together with something that no earlier step has seen: layers that
    share their weights, in contrast, only see what the layer before them made, or what all of them see. Of two uses, the
    second one sees a piece of something of which the first one has seen another. The first state may be zeros: then this is
    enough.
    What only makes the probabilities by which a memory is read at each step is none of them.
    """
    uses: dict[str, list[Node]] = {}
    for use in flow.maps:
        if use.node.op not in RECURRENT:
            uses.setdefault(use.parameter, []).append(use.node)
    numbers = _value_numbers(flow) if any(len(steps) > 2 for steps in uses.values()) else []
    once = {steps[0].index for steps in uses.values() if len(steps) == 1}
    probabilities = {unmoved(gate).index for gate in flow.coefficients.values() if unmoved(gate).op in SOFTMAXES}
    return {
        name
        for name, steps in uses.items()
        if _is_fed(flow, steps, once, numbers) and _leads_past(flow, steps[0], probabilities)
    }


def _is_fed(flow: Flow, steps: list[Node], once: set[int], numbers: list[int]) -> bool:
    if not all(flow.depends(after, before) for before, after in zip(steps, steps[1:], strict=False)):
        return False
    if any(_is_zero(value) for key, value in steps[0].arguments.items() if key not in ("weight", "bias")):
        return True
    if len(steps) < 3:
        return len(steps) == 2 and _sees_another_piece(flow, steps[0], steps[1], once)
    before = flow.ancestors[steps[1].index]
    new = flow.ancestors[steps[2].index] & ~before
    made = 1 << steps[0].index | 1 << steps[1].index
    fresh = {numbers[n.index] for n in flow.nodes[: steps[2].index] if _is_fresh(flow, n, new, made)}
    return not fresh <= {numbers[n.index] for n in flow.nodes[: steps[1].index] if before >> n.index & 1}


def _is_fresh(flow: Flow, node: Node, new: int, made: int) -> bool:
    return bool(new >> node.index & 1 and flow.fed[node.index] and not flow.ancestors[node.index] & made)


def _value_numbers(flow: Flow) -> list[int]:
    """A number for each node, the same for those that compute the same of the same: each step may make the same keys anew."""
    numbers: list[int] = []
    known: dict[object, int] = {}

    def key(value: object) -> object:
        if isinstance(value, (list, tuple)):
            return tuple(map(key, value))
        return numbers[value.index] if isinstance(value, Node) else repr(value)

    for node in flow.nodes:
        arguments = tuple((name, key(value)) for name, value in node.arguments.items())
        numbers.append(known.setdefault((node.op, arguments) if node.inputs else node.index, node.index))
    return numbers


def _sees_another_piece(flow: Flow, first: Node, second: Node, once: set[int]) -> bool:
    """Whether what is added to the second use of a weight, or the use, sees a piece of which the first one sees another.

    Pieces of other shapes are not steps of a sequence, such as a class token and the others. Steps share all their weights:
    what the second use sees only through a layer that is used ``once``, after the first use, is of another block.
    """

    def before_layers(node: Node) -> Sequence[Node]:
        return () if node.index in once and flow.depends(node, first) else node.sources

    before = {n.index: n for n in reach([_sum_of(first)], lambda n: n.sources)}
    after = {n.index: n for n in reach([_sum_of(second)], before_layers)}
    cut = {(unmoved(n).index, n.shape) for n in before.values() if n.op in _PIECES}
    fresh = (n for index, n in after.items() if index not in before and not flow.depends(n, first))
    return any(n.op in _PIECES and (unmoved(n).index, n.shape) in cut for n in fresh)


def _leads_past(flow: Flow, node: Node, stops: set[int]) -> bool:
    """Whether a value reaches the output on a way around some nodes."""
    return any(n.op == "output" for n in reach([node], lambda n: [] if n.index in stops else flow.readers(n)))


def _sum_of(node: Node) -> Node:
    """The sum that a value enters, or the value."""
    while len(node.users) == 1 and (addends(node.users[0]) or node.users[0].op in REARRANGEMENTS):
        node = node.users[0]
    return node


def _is_zero(value: object) -> bool:
    if not isinstance(value, Node):
        return False
    node = unmoved(value)
    is_number = node.op == "constant" and isinstance(node.value, Tensor) and not node.value.is_meta
    return node.op in ZEROS or (is_number and not node.value.any())
