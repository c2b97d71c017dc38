"""Residual sums and gates: the regions of a graph that a value can bypass, or that only scale it.

A *residual sum* adds a *branch* to a *shortcut*. Terms B and S of a sum are branch and shortcut where all of this holds:

1.  **What B adds is read nowhere else.** The last layers of B reach the sum only. (Rows count one by one: a layer whose other
    rows reach something else, as WaveNet's skip, ends the branch with the rows that reach the sum.) So the lateral
    connections of a feature pyramid, whose levels are read, add no branch.
2.  **S carries B's own input.** Going back from B through what is read nowhere else leads to the values that enter B; one of
    them, up to normalizations, activation functions and concatenations, flows into S through no layer, or through a single one
    (a *projection*; depthwise convolutions count as pooling). Whatever else enters B is a condition that joins inside it, such
    as the embedding of a time step or the memory of a cross-attention, and so is what only scales elements inside B, such as
    the mask of TabNet's next decision step, whose outputs are added up. A projection is none of B's input where three or more
    layers add projections of that value to sums, or where a sum inside B has a shortcut that comes from elsewhere.
3.  **B is deeper.** From that value more layers lead to B than to S; else the two are on a par, as are parallel convolutions.
    So are a projection and layers with nothing between that is not linear, as LoRA's: both are one matrix.
4.  **S has the shape of the sum,** so a condition that is broadcast over positions is not a shortcut.
5.  **B is not a decoder:** it does not upsample values that S does not, as the deeper level that an adding U-Net adds to a
    finer one. Attention on a coarser grid may, and a gate.
6.  **It is not a skip around the whole network,** as DnCNN's and VDSR's: a sum that no layer, activation function or
    normalization follows, of the network's input and of what its last layer, at least the third, makes of wider features.
    That layer is a head, as it would be without the sum. A block that is initialized alone has two layers in a row, begins
    with a normalization, or is no wider inside than outside.
7.  **It is not a sum of outputs:** no layer follows a sum in which every term ends in a layer of its own or sums its input up,
    with no activation function or normalization behind, as in dueling networks. These are several heads.
8.  **It is not a sum over steps:** B and S are not what the same layers make of several values.

Recurrences are not residual sums either; `idinit.parts.side_paths.find_loops` finds them. A residual block inside a step of one
is, as in MuZero's dynamics: nothing enters it but the state, see `find_closed`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import prod

from ..graph.addition import addends
from ..graph.dataflow import Flow, Use
from ..graph.node import Node, reach
from ..graph.operators import GATE_RANK, NORMS, REARRANGEMENTS, RECURRENT, SAME, SUMS
from ..graph.traversal import walk_back
from .carried import Term, adds_values, find_carried, find_conditions, modulated
from .exclusive import exclusive, leading_to
from .side_paths import between

_HIDDEN = NORMS | {op for op, rank in GATE_RANK.items() if rank == 1} | {"relu6", "hardtanh"}


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


def find_gates(flow: Flow, attentions: frozenset[int]) -> Iterator[Region]:
    """What makes the coefficients that are multiplied into values, e.g. the two layers of squeeze-excite.

    Args:
        flow: The graph.
        attentions: Products of attention's probabilities with values, which are not gates.
    """
    carrying = _value_path(flow, flow.nodes[-1])
    for index, gate in flow.coefficients.items():
        if index in attentions:
            continue
        node = flow.nodes[index]
        values = flow.values(node)
        uses, last = between(flow, gate, values), walk_back(flow, gate).maps
        if uses:  # what is read elsewhere carries values, as a decoder that gates what the encoder passes to it
            members, _ = exclusive(flow, gate)
            path = _value_path(flow, gate)  # at each of several steps, as the keys of a memory
            inside = (u for u in uses if members >> u.node.index & 1 or u.node.index in path)
            uses = [u for u in inside if u in last or u.node.index not in carrying]
        else:  # made of something else than the values: its last maps
            uses = [use for use in last if not any(_carries(flow, value, use.node) for value in values)]
        if uses:
            yield Region("gate", uses, gate, node, node)


def _carries(flow: Flow, value: Node, source: Node) -> bool:
    """Whether a value is made of another one, and not only scaled by what is, as a state is at each step."""
    if not flow.depends(value, source):
        return False
    return source in reach([value], lambda n: [read for read in flow.values(n) if read.index >= source.index])


def _value_path(flow: Flow, end: Node) -> set[int]:
    """The nodes whose values flow to a node, the states of recurrent layers among them."""
    return {n.index for n in reach([end], lambda n: flow.operands(n) if n.op in RECURRENT else flow.values(n))}


def find_sides(flow: Flow, scores: frozenset[int], products: frozenset[int]) -> Iterator[Region]:
    """The sides of every residual sum.

    Args:
        flow: The graph.
        scores: Nodes inside attentions, whose sums are not residual sums.
        products: Products of attention's probabilities with values.
    """
    inner: set[int] = set()
    conditions = find_conditions(flow)
    for node in reversed(flow.nodes):
        if node.index in inner or node.index in scores or not addends(node) or not flow.readers(node) or modulated(flow, node):
            continue
        nested: set[int] = set()
        terms = [Term(term, reader, *leading_to(flow, term)) for term, reader in _terms(flow, node, nested)]
        sides = list(_sides(flow, node, terms, products, conditions))
        if nested and (outer := _around(flow, node, terms, sides, products, conditions)):
            sides, nested = outer, set()
        inner |= nested
        yield from sides


def _around(
    flow: Flow, node: Node, terms: list[Term], sides: list[Region], products: frozenset[int], conditions: set[int]
) -> list[Region]:
    """The sides of a sum of which a sum inside, with all that leads to it, is one; empty where the terms of both are equals.

    So it is where nothing else inside is a side, or where a branch ends in a residual block of its own: x + (y + g(y)) with
    y = f(x).
    """
    operands = {side.operand for side in sides}
    known = operands | {side.shortcut.operand for side in sides if side.shortcut}
    is_whole = len(operands) < sum(term.members & flow.at_maps != 0 for term in terms)
    if not is_whole and known >= {term.operand for term in terms}:
        return []
    direct = [Term(n, node, *leading_to(flow, n)) for n in addends(node) if flow.origins(n)]
    outer = list(_sides(flow, node, direct, products, conditions))
    return outer if is_whole or any(side.ends for side in outer) else []


def find_closed(flow: Flow, sides: Iterable[Region], weights: Iterable[str]) -> set[str]:
    """Those of some weights that only work in sums of a value and of what layers make of this value and of nothing else.

    A step of a recurrence, in contrast, adds something new to the state.
    """
    uses = {name: {use for use in flow.maps if use.parameter == name} for name in weights}
    known = set().union(*uses.values())
    closed: set[Use] = set()
    for side in sides:
        if side.kind == "branch" and known.intersection(side.uses) and _is_closed(flow, side):
            closed.update(side.uses)
    return {name for name, own in uses.items() if own <= closed}


def _is_closed(flow: Flow, branch: Region) -> bool:
    if branch.shortcut is None or (value := branch.shortcut.operand) not in branch.entrances:
        return False
    new = flow.ancestors[branch.sum.index] & ~flow.ancestors[value.index]
    return all(flow.depends(n, value) for n in flow.nodes[: branch.sum.index] if new >> n.index & 1 and flow.fed[n.index])


def _sides(flow: Flow, node: Node, terms: list[Term], products: frozenset[int], conditions: set[int]) -> Iterator[Region]:
    if len(terms) < 2 or not any(term.members & flow.at_maps for term in terms):
        return
    shortcuts: dict[int, Region] = {}
    branches: list[tuple[Term, Region, list[Node]]] = []
    for term in terms:
        candidates = []
        for other in terms:
            if other is term or prod(other.operand.shape) != prod(node.shape):
                continue
            layers, entrances = find_carried(flow, other, term, conditions)
            if (
                entrances
                and not _adds_steps(flow, term, other)
                and not _decodes(flow, term, other, entrances, products)
                and not (layers == 0 and _is_around_all(flow, node, term, entrances))
                and not (layers and _is_linear(flow, term, entrances))
                and not ((layers or _is_reduced(other, entrances)) and _adds_outputs(flow, node, term, other))
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
            side.uses, side.others = _carrying(flow, term.operand, between(flow, term.operand, others)), others
            if side.uses:
                yield side
    for term, side, entrances in branches:
        others = [other.operand for other in terms if other is not term]
        yield _branch(flow, term, side, entrances, node, others)


def _carrying(flow: Flow, end: Node, uses: list[Use]) -> list[Use]:
    """Those of some maps through which values flow to a node, and not only factors of these."""
    reached = {n.index for n in reach([end], flow.values)} if uses else set()
    return [use for use in uses if use.node.index in reached]


def _branch(flow: Flow, term: Term, shortcut: Region, entrances: list[Node], node: Node, others: list[Node]) -> Region:
    uses, walk = _inside(flow, term, entrances), walk_back(flow, term.operand)
    ends = [use for use in walk.maps if use in uses]
    entered = sum(1 << entrance.index for entrance in {n.index: n for n in entrances}.values())
    if walk.passed & entered or not walk.is_plain:
        ends = []
    return Region("branch", uses, term.operand, node, term.reader, shortcut, ends, walk.norms, entrances, others)


def _inside(flow: Flow, term: Term, entrances: list[Node]) -> list[Use]:
    """The maps of a branch: those that its own input goes through, and of each condition the last one before it joins.

    A map that makes the branch's own input is none of them, even if some of its rows make a condition.
    """
    own = sum(1 << n.index for n in {n.index: n for n in entrances}.values())
    own |= sum(flow.origins(n) for n in entrances if not flow.active[n.index])

    def before(node: Node) -> list[Node]:
        if node.index in flow.maps_at and not flow.ancestors[node.index] & own:
            return []
        return [n for n in node.inputs if flow.ancestors[n.index] and term.members >> n.index & 1]

    inside = reach([term.operand] if term.members >> term.operand.index & 1 else [], before)
    made = (node for node in inside if not any(flow.depends(entrance, node) for entrance in entrances))
    return sorted((use for node in made for use in flow.maps_at.get(node.index, [])), key=lambda use: use.node.index)


def _decodes(flow: Flow, branch: Term, shortcut: Term, entrances: list[Node], products: frozenset[int]) -> bool:
    """Whether a branch upsamples, which the shortcut does not."""
    own = sum(1 << n.index for n in {n.index: n for n in entrances}.values())
    upsamplings = [n for n in flow.upsamplings if branch.members >> n.index & 1 and flow.ancestors[n.index] & own]
    carrying = {n.index for n in reach([branch.operand], flow.values)} if upsamplings else set()
    found = any(n.index in carrying and not _attends(flow, n, products) for n in upsamplings)
    lowest = min(n.index for n in entrances)
    return found and not any(flow.depends(shortcut.operand, n) for n in flow.upsamplings if n.index > lowest)


def _attends(flow: Flow, node: Node, products: frozenset[int]) -> bool:
    """Whether a value is what an attention makes, with no sum in between."""
    reached = reach([node], lambda n: [] if adds_values(flow, n) else flow.values(n))
    return any(n.index in products for n in reached)


def _is_around_all(flow: Flow, node: Node, branch: Term, entrances: list[Node]) -> bool:
    """Whether a sum adds the network's input to what the last layer makes of wider features."""
    if not _is_output(flow, node, _HIDDEN - {"tanh"}):  # which may bound an image
        return False
    learned = sum(1 << index for index in {use.node.index for use in flow.uses})
    if any(flow.ancestors[n.index] & learned or not flow.active[n.index] for n in entrances):
        return False
    members = [flow.nodes[index] for index in flow.norms if branch.members >> index & 1]
    walk = walk_back(flow, branch.operand)
    is_narrowing = all(prod(u.node.shape) < prod(n.shape) for u in walk.maps for n in flow.values(u.node))
    before = [u for last in walk.maps for n in flow.values(last.node) for u in walk_back(flow, n).maps]
    is_deep = any(flow.ancestors[n.index] & flow.at_maps for u in before for n in flow.values(u.node))
    return is_deep and is_narrowing and not walk.norms and all(flow.ancestors[n.index] & flow.at_maps for n in members)


def _is_linear(flow: Flow, branch: Term, entrances: list[Node]) -> bool:
    """Whether a branch is linear in what enters it, as the product of thin layers that LoRA adds to what a layer makes."""

    def keeps_linear(node: Node) -> bool:
        is_map = node.index in flow.maps_at and node.op not in RECURRENT
        return is_map or node.op in REARRANGEMENTS or (node.op in SUMS | {"mul", "div"} and len(flow.operands(node)) == 1)

    inside = reach([branch.operand], lambda n: [] if n in entrances else flow.operands(n))
    return all(node in entrances or keeps_linear(node) for node in inside)


def _adds_outputs(flow: Flow, node: Node, branch: Term, shortcut: Term) -> bool:
    """Whether a sum adds outputs of the network: layers that nothing follows but what makes the outputs."""
    return _is_output(flow, node, _HIDDEN) and not any(walk_back(flow, term.operand).norms for term in (branch, shortcut))


def _adds_steps(flow: Flow, branch: Term, shortcut: Term) -> bool:
    """Whether two terms are what the same layers make at several steps, and nothing else."""
    layers, made_by = {use.parameter for use in walk_back(flow, branch.operand).maps}, set()
    for node in reach([shortcut.operand], lambda n: [] if n.index in flow.maps_at else flow.values(n)):
        found = {use.parameter for use in flow.maps_at.get(node.index, ())}
        if not found <= layers or not (found or flow.values(node)):
            return False
        made_by |= found
    return made_by == layers


def _is_output(flow: Flow, node: Node, hidden: set[str]) -> bool:
    """Whether no layer and none of these activation functions and normalizations follow a node."""
    return not flow.followed >> node.index & 1 and not any(n.op in hidden for n in reach(node.users, lambda n: n.users))


def _is_reduced(shortcut: Term, entrances: list[Node]) -> bool:
    """Whether a term is smaller than what it carries, as the interactions of embeddings that a factorization machine sums."""
    return prod(shortcut.operand.shape) < min(prod(n.shape) for n in entrances)


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
        elif flow.carries(operand) and flow.origins(operand):
            terms.append((operand, node))
    made_of = 0
    for term, _ in terms:
        made_of |= flow.ancestors[term.index]
    return [(term, reader) for term, reader in terms if flow.active[term.index] or flow.origins(term) & made_of]
