"""Paths that run side by side in a graph: the maps on them, where they join, and which of them are steps in time."""

from __future__ import annotations

from ..graph.addition import addends
from ..graph.dataflow import Flow, Use
from ..graph.node import Node


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
    fresh = (n for n in flow.nodes[: steps[2].index] if new >> n.index & 1 and flow.fed[n.index])
    return any(not flow.ancestors[n.index] & seen for n in fresh)
