"""The nodes of a graph that lead to one value and nowhere else; pieces of an output count one by one."""

from __future__ import annotations

import heapq

from ..graph.dataflow import Flow, Use
from ..graph.node import Node
from ..graph.operators import GATE_RANK, NORMS, SAME, SUMS

_SPLITS = {"chunk", "split", "split_with_sizes", "unsafe_split", "tensor_split", "unbind"}
_BY_CHANNEL = _SPLITS | SAME | NORMS | GATE_RANK.keys()


def leading_to(flow: Flow, addend: Node) -> tuple[int, list[Node]]:
    """The nodes that lead to a sum through one addend only, and the values that enter them."""
    is_read_elsewhere = len(flow.readers(addend)) > 1
    return (0, [addend]) if is_read_elsewhere else exclusive(flow, addend)


def exclusive(flow: Flow, end: Node) -> tuple[int, list[Node]]:
    """The nodes that lead to a value and nowhere else, as a set, and the values that enter the set."""
    members, entering = 0, []
    queued, heap = {end.index}, [-end.index]
    while heap:
        node = flow.nodes[-heapq.heappop(heap)]
        users = [] if node is end else flow.readers(node)
        outside = [user for user in users if not members >> user.index & 1]
        if outside and not _splits(flow, node, [user for user in users if user not in outside], outside):
            entering.append(node)
            continue
        members |= 1 << node.index
        for read in node.inputs:
            if read.index not in queued and flow.ancestors[read.index]:
                queued.add(read.index)
                heapq.heappush(heap, -read.index)
    return members, entering


def _splits(flow: Flow, node: Node, inside: list[Node], outside: list[Node]) -> bool:
    """Whether a map's output is cut in pieces, of which some lead to one place and the others to another."""
    made_by = node
    while _keeps_channels(flow, made_by):
        made_by = flow.operands(made_by)[0]
    if made_by.index not in flow.maps_at or not inside:
        return False
    if node.op in _SPLITS:
        return True
    return all(_are_disjoint(a, b) for a in inside for b in outside)


def is_split(flow: Flow, use: Use) -> bool:
    """Whether the outputs of a map are cut in pieces that are read one by one."""
    node = use.node
    while len(node.users) == 1 and node.users[0].op not in _SPLITS and _keeps_channels(flow, node.users[0]):
        node = node.users[0]
    return any(user.op in _SPLITS | {"slice"} for user in node.users)


def _keeps_channels(flow: Flow, node: Node) -> bool:
    """Whether a node makes each channel of a single one, e.g. by an activation function or a learned factor."""
    if len(operands := flow.operands(node)) != 1 or node.index in flow.maps_at:
        return False
    return node.op in _BY_CHANNEL or (node.op in SUMS | {"mul", "div"} and operands[0].shape == node.shape)


def _are_disjoint(a: Node, b: Node) -> bool:
    if a.op != "slice" or b.op != "slice" or a.arguments.get("dim", 0) != b.arguments.get("dim", 0):
        return False
    return set(_places(a)).isdisjoint(_places(b))


def _places(node: Node) -> range:
    """The indices that a slice takes."""
    bounds = (node.arguments.get(name) for name in ("start", "end", "step"))
    return range(node.inputs[0].shape[node.arguments.get("dim", 0)])[slice(*bounds)]
