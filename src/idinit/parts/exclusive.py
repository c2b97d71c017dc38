"""The nodes of a graph that lead to one value and nowhere else; pieces of an output count one by one."""

from __future__ import annotations

import heapq

from ..graph.dataflow import Flow, Use
from ..graph.node import Node
from ..graph.operators import GATE_RANK, NORMS, SAME

_SPLITS = {"chunk", "split", "split_with_sizes", "unsafe_split", "tensor_split", "unbind"}
_BY_CHANNEL = _SPLITS | SAME | NORMS | GATE_RANK.keys()
_FAR = 10**9


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
    while made_by.op in _BY_CHANNEL:
        made_by = made_by.inputs[0]
    if made_by.index not in flow.maps_at or not inside:
        return False
    if node.op in _SPLITS:
        return True
    return all(_are_disjoint(a, b) for a in inside for b in outside)


def is_split(use: Use) -> bool:
    """Whether the outputs of a map are cut in pieces that are read one by one."""
    node = use.node
    while len(node.users) == 1 and node.users[0].op in _BY_CHANNEL - _SPLITS:
        node = node.users[0]
    return any(user.op in _SPLITS | {"slice"} for user in node.users)


def _are_disjoint(a: Node, b: Node) -> bool:
    if a.op != "slice" or b.op != "slice" or a.arguments.get("dim", 0) != b.arguments.get("dim", 0):
        return False
    (start, stop), (other_start, other_stop) = ((_bound(n, "start", 0), _bound(n, "end", _FAR)) for n in (a, b))
    return stop <= other_start or other_stop <= start


def _bound(node: Node, name: str, usual: int) -> int:
    value = node.arguments.get(name)
    size = node.inputs[0].shape[node.arguments.get("dim", 0)]
    value = usual if value is None else value
    return min(size, max(0, value + size if value < 0 else value))
