"""Residual sums and gates: the regions of a graph that a value can bypass, or that only scale it.

A *residual sum* adds a *branch* to a *shortcut*. Terms B and S of a sum are branch and shortcut where all of this holds:

1.  **What B adds is read nowhere else.** The last layers of B reach the sum only. (Rows count one by one: a layer whose other
    rows reach something else, as WaveNet's skip, ends the branch with the rows that reach the sum.) So the lateral
    connections of a feature pyramid, whose levels are read, add no branch.
2.  **S carries B's own input.** Going back from B through what is read nowhere else leads to the values that enter B; one of
    them, up to normalizations, activation functions and concatenations, flows into S through no layer, or through a single one
    (a *projection*; depthwise convolutions count as pooling). Whatever else enters B is a condition that joins inside it, such
    as the embedding of a time step or the memory of a cross-attention.
3.  **B is deeper.** From that value more layers lead to B than to S; else the two are on a par, as are parallel convolutions.
4.  **S has the shape of the sum,** so a condition that is broadcast over positions is no shortcut.
5.  **B is no decoder:** it does not upsample what S does not, as the deeper level that an adding U-Net adds to a finer one.
    Attention on a coarser grid may.
6.  **It is no sum of outputs:** no layer follows a sum in which every term ends in a layer of its own, with no activation
    function or normalization behind, as in dueling networks. These are several heads.

Sums over time are no residual sums either; `find_loops` finds them.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from math import prod

from ..graph.addition import addends
from ..graph.dataflow import Flow, Use
from ..graph.node import Node
from ..graph.operators import GATE_RANK, NORMS, SAME
from ..graph.traversal import walk_back

_SPLITS = {"chunk", "split", "split_with_sizes", "unsafe_split", "tensor_split", "unbind"}
_BY_CHANNEL = _SPLITS | SAME | NORMS | GATE_RANK.keys()
_HIDDEN = NORMS | {op for op, rank in GATE_RANK.items() if rank == 1} | {"relu6", "hardtanh"}
_LAYER, _FAR = 1000, 10**9


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
        entrances: Of a branch, its own input: the values that enter it and that the shortcut carries.
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
    entrances: list[Node] = field(default_factory=list)
    others: list[Node] = field(default_factory=list)


@dataclass
class _Term:
    """An addend: the addition it enters, and the nodes that lead to it and nowhere else, with the values that enter these."""

    operand: Node
    reader: Node
    members: int
    entrances: list[Node]


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


def find_sides(flow: Flow, scores: set[int], products: set[int]) -> Iterator[Region]:
    """The sides of every residual sum.

    Args:
        flow: The graph.
        scores: Nodes inside attentions, whose sums are no residual sums.
        products: Products of attention's probabilities with values.
    """
    inner: set[int] = set()
    for node in reversed(flow.nodes):
        if node.index in inner or node.index in scores or not addends(node):
            continue
        nested: set[int] = set()
        terms = [_Term(term, reader, *_leading_to(flow, term)) for term, reader in _terms(flow, node, nested)]
        sides = list(_sides(flow, node, terms, products))
        if nested and len({id(side.operand) for side in sides}) < sum(term.members & flow.at_maps != 0 for term in terms):
            # A sum inside, of which nothing else is a side, may be one side of this one.
            direct = [_Term(n, node, *_leading_to(flow, n)) for n in addends(node) if flow.origins(n)]
            if outer := list(_sides(flow, node, direct, products)):
                sides, nested = outer, set()
        inner |= nested
        yield from sides


def _sides(flow: Flow, node: Node, terms: list[_Term], products: set[int]) -> Iterator[Region]:
    if len(terms) < 2 or not any(term.members & flow.at_maps for term in terms):
        return
    shortcuts: dict[int, Region] = {}
    branches: list[tuple[_Term, Region, list[Node]]] = []
    for term in terms:
        candidates = []
        for other in terms:
            if other is term or prod(other.operand.shape) != prod(node.shape):
                continue
            layers, entrances = _carries(flow, other, term)
            if (
                entrances
                and not _decodes(flow, term, other, entrances, products)
                and not (layers and _adds_outputs(flow, node, term, other))
            ):
                candidates.append((layers, -other.operand.index, other, entrances))
        if candidates:
            _, _, other, entrances = min(candidates, key=lambda c: c[:2])
            side = shortcuts.setdefault(id(other), Region("shortcut", [], other.operand, node, other.reader))
            branches.append((term, side, entrances))
    for term in terms:
        others = [other.operand for other in terms if other is not term]
        if id(term) in shortcuts:
            side = shortcuts[id(term)]
            side.uses, side.others = _between(flow, term.operand, others), others
            if side.uses:
                yield side
    for term, side, entrances in branches:
        others = [other.operand for other in terms if other is not term]
        yield _branch(flow, term, side, entrances, node, others)


def _branch(flow: Flow, term: _Term, shortcut: Region, entrances: list[Node], node: Node, others: list[Node]) -> Region:
    uses, walk = _inside(flow, term, entrances), walk_back(flow, term.operand)
    ends = [use for use in walk.maps if use in uses]
    entered = sum(1 << entrance.index for entrance in {n.index: n for n in entrances}.values())
    if walk.passed & entered or not walk.is_plain:
        ends = []
    return Region("branch", uses, term.operand, node, term.reader, shortcut, ends, walk.norms, entrances, others)


def _inside(flow: Flow, term: _Term, entrances: list[Node]) -> list[Use]:
    """The maps of a branch: those that its own input goes through, and of each condition the last one before it joins."""
    own = sum(1 << n.index for n in {n.index: n for n in entrances}.values())
    own |= sum(flow.origins(n) for n in entrances if not flow.active[n.index])
    found: list[Use] = []
    seen, queue = 0, [term.operand]
    while queue:
        node = queue.pop()
        if seen >> node.index & 1 or not term.members >> node.index & 1:
            continue
        seen |= 1 << node.index
        maps = flow.maps_at.get(node.index, [])
        found += maps
        if not maps or flow.ancestors[node.index] & own:
            queue += [n for n in node.inputs if flow.ancestors[n.index]]
    return sorted(found, key=lambda use: use.node.index)


def _exclusive(flow: Flow, end: Node) -> tuple[int, list[Node]]:
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


def _leading_to(flow: Flow, addend: Node) -> tuple[int, list[Node]]:
    """The nodes that lead to a sum through one addend only, and the values that enter them."""
    is_read_elsewhere = len(flow.readers(addend)) > 1
    return (0, [addend]) if is_read_elsewhere else _exclusive(flow, addend)


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


def _carries(flow: Flow, shortcut: _Term, branch: _Term) -> tuple[int, list[Node]]:
    """Of what enters a branch, the values that another term carries, and the number of layers they go through there.

    A value that enters the branch may be read elsewhere as well, as what WaveNet's blocks make of their input. Then the
    branch goes on behind it, where the shortcut itself enters.
    """
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
        if has_maps and (cost < inside.get(entrance.index, 0) or (cost == 0 and is_plain)):
            fits.append((cost, entrance))
    if fits:
        least = min(cost for cost, _ in fits)
        found = [entrance for cost, entrance in fits if cost == least]
        made = [n for n in found if flow.ancestors[n.index] & flow.at_maps]  # others are given, such as a graph's edges
        return least // _LAYER, made or found
    return _carries_behind(flow, shortcut, branch)


def _carried(flow: Flow, end: Node, lowest: int) -> dict[int, int]:
    """What flows into a node through no layer, or through a projection and no other sum, and what that counts."""

    def before(node: Node) -> list[Node]:
        return [n for n in flow.values(node) if n.index >= lowest]

    price = partial(_price, flow)
    projected = _costs(end, price, lambda node: [] if _adds(flow, node) else before(node), 2 * _LAYER)
    return projected | _costs(end, price, before, _LAYER)


def _members_of(flow: Flow, branch: _Term, node: Node) -> list[Node]:
    return [n for n in node.inputs if flow.ancestors[n.index]] if branch.members >> node.index & 1 else []


def _carries_behind(flow: Flow, shortcut: _Term, branch: _Term) -> tuple[int, list[Node]]:
    """The same where a value that enters the branch and is read elsewhere is itself made of what the shortcut is."""
    if not branch.members & flow.at_maps:
        return 0, []
    direct = _sources(flow, shortcut.operand)
    projected = {
        index for at in direct & flow.maps_at.keys() for n in flow.values(flow.nodes[at]) for index in _sources(flow, n)
    }
    for entrance in branch.entrances:
        members, entering = _exclusive(flow, entrance)
        for layers, carried in enumerate((direct, projected)):
            found = [n for n in entering if _sources(flow, n) & carried]
            if members & flow.at_maps and found:
                entered = sum(1 << index for index in {n.index for n in found})
                inside = (n.index for n in flow.nodes[: entrance.index + 1] if members >> n.index & 1)
                branch.members |= sum(1 << index for index in inside if flow.ancestors[index] & entered)
                return layers, found
    return 0, []


def _adds(flow: Flow, node: Node) -> bool:
    """Whether a node adds values that flow, and not just a bias or a position."""
    return sum(flow.ancestors[n.index] != 0 for n in addends(node)) > 1


def _sources(flow: Flow, node: Node) -> set[int]:
    """A value, and what it was before normalizations, activation functions, rearrangements and concatenations."""
    found, queue = set(), [node]
    while queue:
        node = queue.pop()
        if node.index in found:
            continue
        found.add(node.index)
        if node.index not in flow.maps_at and not _adds(flow, node):
            queue += [n for n in flow.values(node) if flow.ancestors[n.index]]
    return found


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
    maps = flow.maps_at.get(node.index, [])
    return 0 if not maps else 1 if all(_is_depthwise(use) for use in maps) else _LAYER


def _is_depthwise(use: Use) -> bool:
    return use.node.arguments.get("groups", 1) > 1 and len(use.operand.shape) > 2 and use.operand.shape[1] == 1


def _decodes(flow: Flow, branch: _Term, shortcut: _Term, entrances: list[Node], products: set[int]) -> bool:
    """Whether a branch upsamples, which the shortcut does not."""
    own = sum(1 << n.index for n in {n.index: n for n in entrances}.values())
    upsamplings = [n for n in flow.upsamplings if branch.members >> n.index & 1 and flow.ancestors[n.index] & own]
    found = False
    for node in upsamplings:
        found |= not _attends(flow, node, products)
    lowest = min(n.index for n in entrances)
    return found and not any(flow.depends(shortcut.operand, n) for n in flow.upsamplings if n.index > lowest)


def _attends(flow: Flow, node: Node, products: set[int]) -> bool:
    """Whether a value is what an attention makes, with no sum in between."""
    seen, queue = set(), [node]
    while queue:
        node = queue.pop()
        if node.index in products:
            return True
        if node.index not in seen and not _adds(flow, node):
            seen.add(node.index)
            queue += flow.values(node)
    return False


def _adds_outputs(flow: Flow, node: Node, branch: _Term, shortcut: _Term) -> bool:
    """Whether a sum adds outputs of the network: layers that nothing follows but what makes the outputs."""
    if flow.followed >> node.index & 1:
        return False
    if any(walk_back(flow, term.operand).norms for term in (branch, shortcut)):
        return False
    seen, queue = {node.index}, [node]
    while queue:
        for user in queue.pop().users:
            if user.op in _HIDDEN:
                return False
            if user.index not in seen:
                seen.add(user.index)
                queue.append(user)
    return True


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
    fresh = (n for n in flow.nodes[: steps[2].index] if new >> n.index & 1 and flow.fed[n.index])
    return any(not flow.ancestors[n.index] & seen for n in fresh)


def _terms(flow: Flow, node: Node, inner: set[int]) -> list[tuple[Node, Node]]:
    """The addends of a sum of several, each with the addition it enters.

    Sums inside it that nothing else reads are noted as inner. A learned token is an addend where the others are made of it.
    """
    terms = []
    for operand in addends(node):
        while operand.op in SAME and len(operand.users) == 1:
            operand = operand.inputs[0]
        nested = [n for n in addends(operand) if flow.ancestors[n.index]]
        if len(nested) > 1 and len(flow.readers(operand)) == 1:
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
