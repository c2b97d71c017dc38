"""The part of every parameter, from the graph of one forward pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from torch import nn

from ..graph.capture import capture
from ..graph.dataflow import Flow, Use
from ..graph.node import Graph, Node, reach
from ..graph.operators import SUMS
from ..graph.probe import Inputs
from ..graph.roles import makes_kernel
from ..graph.traversal import makers, walk_back
from .attention import Attention, find_added_scores, find_attention
from .bilinear import note_bilinear_gates
from .exclusive import is_split
from .heads import Heads, find_heads
from .made_matrices import note_made_matrices
from .positive import find_positive
from .recurrent import Cells, find_cells, find_recurrent
from .residual_sums import Region, find_closed, find_gates, find_sides
from .row_labels import output_dims, rows
from .side_paths import find_forks

# Of a parameter with several parts, the one that comes first here stands for it: a tied embedding is not a head.
_PRIORITY = (
    *("embedding", "position", "recurrent", "branch_end", "query", "key", "value", "branch", "trunk", "shortcut", "gate"),
    *("stem", "head", "norm", "bias", "scale", ""),
)
RowParts = dict[tuple[int, int], str]
# What becomes of the outputs of a linear map: pairs of a part and the node that the rows with this part lead to.
Outputs = list[tuple[str, Node]]


@dataclass(frozen=True)
class Analysis:
    """What the parameters of a network do in one forward pass.

    Attributes:
        graph: The forward pass.
        flow: What depends on what in it.
        sides: The sides of the residual sums, in the order of the sums.
        innermost: Of each linear map that is in a branch, a shortcut or a gate, the smallest of these.
        parts: The part of each parameter that was recognized.
        row_parts: Of parameters with several parts side by side, the part of each index of a dimension: (dim, index) -> part.
        keepers: Of hand-written recurrent cells, the indices of a bias that belong to the gate that keeps the state.
        heads: The weights of each attention that has one each for queries, keys, values and output.
        unknown: The other parameters, with the reason.
        idle: Those of them that nothing which depends on the input is computed with.
        carriers: The linear maps that values flow through, not only queries, keys, gates or positions.
        bilinear: Names of the linear maps that make gates without an activation function.
    """

    graph: Graph
    flow: Flow
    sides: tuple[Region, ...]
    innermost: Mapping[Use, Region]
    parts: dict[str, str]
    row_parts: dict[str, RowParts]
    keepers: dict[str, tuple[int, int]]
    heads: tuple[Heads, ...]
    unknown: dict[str, str]
    idle: frozenset[str]
    carriers: frozenset[Use]
    bilinear: frozenset[str]

    def own(self, side: Region) -> list[Use]:
        """The maps of a side through which its values flow and that are in no region inside it; the ends come last."""
        own = [use for use in side.uses if self.innermost[use] is side and use in self.carriers]
        return sorted(own, key=lambda use: use in side.ends)

    def complete(self, training: Analysis) -> Analysis:
        """Adds what only a forward pass in training mode shows: the parts of parameters that are idle in this one."""
        added = self.idle - training.idle
        return replace(
            self,
            parts=self.parts | {name: part for name, part in training.parts.items() if name in added},
            row_parts=self.row_parts | {name: lines for name, lines in training.row_parts.items() if name in added},
            keepers=training.keepers | self.keepers,
            bilinear=training.bilinear | self.bilinear,
            unknown={name: reason for name, reason in self.unknown.items() if name not in added}
            | {name: reason for name, reason in training.unknown.items() if name in added},
        )


def analyze(model: nn.Module, example_inputs: Inputs, *, training: bool = False) -> Analysis:
    """Records one forward pass and finds what each parameter does in it; the model is left as it was.

    Args:
        model: Any module.
        example_inputs: A tensor, a tuple of the forward pass' arguments, or a mapping of keyword ones.
        training: Whether the model is in training mode, instead of evaluation mode.

    Raises:
        UsageError: If the model does not run on these inputs.
    """
    graph = capture(model, example_inputs, training=training)
    return classify(graph, Flow(graph), [name for name, _ in model.named_parameters()])


def classify(graph: Graph, flow: Flow, names: Iterable[str]) -> Analysis:
    """Finds the parts of the parameters of a graph: of regions, rows, uses, and at last of names.

    Args:
        graph: A forward pass.
        flow: What depends on what in it.
        names: The parameters of the network.
    """
    attentions = list(find_attention(flow))
    inside = frozenset(index for attention in attentions for index in attention.inside)
    products = frozenset(index for attention in attentions for index in attention.products)
    note_made_matrices(flow, inside | products)
    bilinear = note_bilinear_gates(flow, inside | products)
    packed, recurrent = _find_packed_gates(flow), find_recurrent(flow)
    regions = _find_regions(flow, inside | find_added_scores(flow, products), products, packed)
    cells = find_cells(flow, recurrent - find_closed(flow, regions, recurrent))
    over_time = {region.sum.index for region in regions if cells.weights & {use.parameter for use in region.uses}}
    regions = [region for region in regions if region.sum.index not in over_time]
    sides = tuple(sorted((r for r in regions if r.kind != "gate"), key=lambda side: side.sum.index))
    innermost = {use: r for r in sorted(regions, key=lambda r: len(r.uses), reverse=True) for use in r.uses}
    sums = frozenset(side.sum.index for side in sides)
    outputs = _find_outputs(flow, attentions, sides, sums, cells, packed)
    parts_of = _PartsOfUses(flow, cells, sides, innermost, outputs)
    parts, row_parts, unknown = _merge(flow, parts_of, list(names))
    carriers = [use for use in flow.maps if use.node.index not in inside and parts_of.carries_values(use)]
    put_out = _put_out_alone(flow)
    idle = sorted(set(names) - {use.parameter for use in flow.uses})
    why = {True: "is put out without meeting the input", False: "takes no part in the forward pass"}
    return Analysis(
        graph=graph,
        flow=flow,
        sides=sides,
        innermost=innermost,
        parts=parts,
        row_parts=row_parts,
        keepers=cells.keepers,
        heads=tuple(heads for attention in attentions if (heads := find_heads(flow, attention, sums))),
        unknown=unknown | {name: why[name in put_out] for name in idle},
        idle=frozenset(idle),
        carriers=frozenset(carriers),
        bilinear=bilinear,
    )


def _put_out_alone(flow: Flow) -> set[str]:
    """The parameters that outputs are computed from which do not depend on the input, such as a policy's spread."""
    made_of = 0
    for node in flow.nodes[-1].inputs:
        made_of |= 0 if flow.active[node.index] else flow.origins(node)
    return {node.name for node in flow.nodes if node.op == "parameter" and made_of >> node.index & 1}


def _find_regions(flow: Flow, scores: frozenset[int], products: frozenset[int], packed: Mapping[Use, Outputs]) -> list[Region]:
    """The sides of sums, and gates; those that recurrent cells are made of, whose sums are over steps in time, are among them.

    Maps that make a gate and, side by side with it, its value or what a branch adds are in no gate, nor are those before them.
    What leads to the gate itself is inside it, such as the values of an attention that makes it.
    """
    sides = list(find_sides(flow, scores, products))
    split = [(use, side.sum) for side in sides for use in side.ends if is_split(flow, use)]
    split += [(use, value) for use, outputs in packed.items() for made, value in outputs if not made]
    regions = [*sides, *find_gates(flow, products)]
    for region in regions:
        if region.kind == "gate":
            both = {use for use, made in split if not flow.depends(region.operand, made)}
            shared = [use for use in region.uses if use in both]
            region.uses = [use for use in region.uses if not any(flow.depends(other.node, use.node) for other in shared)]
    return regions


def _find_outputs(
    flow: Flow,
    attentions: list[Attention],
    sides: Iterable[Region],
    sums: frozenset[int],
    cells: Cells,
    packed: Mapping[Use, Outputs],
) -> dict[Use, Outputs]:
    """What the outputs of linear maps are, where a place that they lead to says so."""
    found: dict[Use, Outputs] = dict(cells.outputs)
    for attention in attentions:
        _add_projections(flow, attention, sums, found)
    found = {**packed, **found}
    positive: dict[Use, Outputs] = {}
    for use, part, operand in find_positive(flow):
        positive.setdefault(use, []).append((part, operand))
    found = {**positive, **found}
    for side in sides:
        for use in side.ends:
            if (use not in found or use in positive) and is_split(flow, use):
                gates = (gate for gate in flow.coefficients.values() if use in walk_back(flow, gate).maps)
                found[use] = [("branch_end", side.operand), *positive.get(use, (("gate", gate) for gate in gates))]
    return found


def _add_projections(flow: Flow, attention: Attention, sums: frozenset[int], found: dict[Use, Outputs]) -> None:
    """Adds which maps make the operands of an attention; they lie after the residual sums."""
    makers = [(use, part, n) for part, n in attention.operands for use in walk_back(flow, n, sums).maps]
    nodes = {use.node for use, part, _ in makers if part != "position"}
    for use, part, operand in makers:
        # Where an operand is not made by a map of its own, the nearest one is behind those of the other operands.
        is_behind = any(flow.depends(other, use.node) for other in nodes if other is not use.node)
        if use.role == "weight" and not is_behind:
            found.setdefault(use, []).append((part, operand))


def _find_packed_gates(flow: Flow) -> dict[Use, Outputs]:
    """The maps that make a value and, side by side with it, one gate or several; what such maps put out may be added."""
    found: dict[Use, Outputs] = {}
    gates: list[tuple[Node, list[Use]]] = []
    for index, gate in flow.coefficients.items():
        values = flow.values(flow.nodes[index])
        if any(flow.depends(gate, _without_numbers(flow, value)) for value in values):  # an activation function, x * sigmoid(x)
            continue
        made_by = makers(flow, gate)
        gates += [(gate, maps) for maps in made_by]
        for value in values if len(values) == 1 else ():
            alike = makers(flow, value)
            for maps in made_by:
                if maps in alike or (len(maps) == 1 and _makes_both(flow, maps[0], gate, value)):
                    found |= {use: [("", value)] for use in maps if use not in found}
    for gate, maps in gates:
        for use in maps if found.keys() >= set(maps) else ():
            found[use].insert(0, ("gate", gate))
    return found


def _makes_both(flow: Flow, use: Use, gate: Node, value: Node) -> bool:
    """Whether some rows of a map make a gate, and all that flows into the value comes from its other rows, by further maps."""
    if not flow.depends(value, use.node):
        return False
    way = reach([value], lambda n: [] if n is use.node else flow.values(n))
    if not all(n.index >= use.node.index for n in way):
        return False
    try:
        return len(rows(flow, use, gate)[1]) < use.node.shape[output_dims(use)[1]]
    except LookupError:
        return False


def _without_numbers(flow: Flow, value: Node) -> Node:
    """What a value was before it was multiplied with numbers, or these were added to it."""
    while value.op in SUMS | {"mul", "div"} and len(operands := flow.operands(value)) == 1:
        value = operands[0]
    return value


class _PartsOfUses:
    """The part of a parameter at one place where it works."""

    def __init__(
        self,
        flow: Flow,
        cells: Cells,
        sides: tuple[Region, ...],
        innermost: Mapping[Use, Region],
        outputs: Mapping[Use, Outputs],
    ) -> None:
        self.flow = flow
        self.cells = cells
        self.outputs = outputs
        self._innermost = innermost
        self._ends = {use for side in sides for use in side.ends}
        self._joins, self._on_paths = find_forks(flow, cells.weights)
        self._fed = {use.parameter for use in flow.maps if self._is_fed(use)}
        self._lookups = 0
        for use in flow.uses:
            self._lookups |= (use.role == "embedding") << use.node.index
        self._last = self._find_last()
        self._before_sums = 0
        for side in sides:
            self._before_sums |= flow.ancestors[side.sum.index]

    def of(self, use: Use) -> Outputs:
        """The parts of what a map puts out, each with where it leads to."""
        return [(self.part(use, made), operand) for made, operand in self.outputs.get(use, [("", use.node)])]

    def part(self, use: Use, made: str = "") -> str:
        """The part of a use; ``made`` is what its outputs are there, if a place that they lead to says so."""
        if use.role != "weight":
            return use.role
        if use.parameter in self.cells.weights:
            return made or "recurrent"
        if use in self._ends and made in ("", "value"):
            return "trunk" if self._is_partial(use) else "branch_end"
        if made:
            return made
        if not self._is_fed(use):  # a state of zeros says nothing of a map that is applied to others
            return "" if use.parameter in self._fed else "position"
        if use in self._innermost:
            return self._innermost[use].kind
        return self._part_on_main_path(use)

    def carries_values(self, use: Use) -> bool:
        """Whether values flow through a map: not through one that only makes queries, keys, factors or positions."""
        factors = {"query", "key", "gate", "position"} | ({"head"} if use in self.outputs else set())
        return not {part for part, _ in self.of(use)} <= factors

    def _is_fed(self, use: Use) -> bool:
        return any(self.flow.fed[node.index] for node in use.node.inputs)

    def _is_partial(self, use: Use) -> bool:
        """Whether only some rows of a branch's last map end the branch; the others lead out of it."""
        return any(made == "branch_end" for made, _ in self.outputs.get(use, ()))

    def _find_last(self) -> set[Use]:
        """The maps that no other follows, but for gates of what they put out, as in a last layer of graph attention."""
        flow, followed = self.flow, 0
        for use in flow.maps:
            if use not in self._innermost or self._innermost[use].kind != "gate":
                followed |= flow.ancestors[use.node.index] & ~(1 << use.node.index)
        last = {use for use in walk_back(flow, flow.nodes[-1]).maps if not followed >> use.node.index & 1}
        return last | {use for use in flow.maps if not flow.followed >> use.node.index & 1}

    def _part_on_main_path(self, use: Use) -> str:
        flow, bit, ancestors = self.flow, 1 << use.node.index, self.flow.ancestors[use.node.index]
        if makes_kernel(use.node, frozenset({"add", "softmax", "sigmoid"})):
            return "gate"
        if use in self._last:
            return "head"
        walks = [walk_back(flow, n) for n in flow.values(use.node)]
        is_first = not any(walk.maps or walk.passed & self._lookups for walk in walks)
        is_before_forks = not ancestors & self._joins and not self._on_paths & bit
        return "stem" if is_first or (is_before_forks and self._before_sums & bit) else "trunk"


def _merge(flow: Flow, parts_of: _PartsOfUses, names: list[str]) -> tuple[dict[str, str], dict[str, RowParts], dict[str, str]]:
    """The part of each parameter, the parts of its rows where there are several, and why some have none."""
    found: dict[str, set[str]] = {name: set() for name in names}
    row_parts: dict[str, RowParts] = {}
    unknown: dict[str, str] = {}
    for use in flow.uses:
        if use.parameter in parts_of.cells.weights and use not in parts_of.cells.last:
            continue
        outputs = parts_of.of(use)
        made = {part for part, _ in outputs}
        if len(made) > 1 or (made & {"query", "key", "value"} and use.operand.op != "parameter") or _has_rest(parts_of, use):
            try:
                row_parts.setdefault(use.parameter, {}).update(_rows_of(flow, parts_of, use, outputs))
            except LookupError:
                made = {parts_of.part(use)} if made & {"gate", "branch_end", "head"} else {"several"}
                unknown[use.parameter] = "packs queries, keys or values, but which rows are which could not be determined"
        elif "" in made:
            unknown[use.parameter] = f"its use by the operator {use.node.op} is not recognized"
        found[use.parameter] |= made
    parts = {n: min(p, key=_PRIORITY.index) for n, p in found.items() if p and p != {""} and "several" not in p}
    several = {name: lines for name, lines in row_parts.items() if len(set(lines.values())) > 1}
    parts |= {name: min(lines.values(), key=_PRIORITY.index) for name, lines in several.items() if name in parts}
    return parts, several, {name: reason for name, reason in unknown.items() if name not in parts}


def _has_rest(parts_of: _PartsOfUses, use: Use) -> bool:
    """Whether rows of a map that lead elsewhere than its outputs here have another part."""
    made = {made for made, _ in parts_of.outputs.get(use, ())}
    return made in ({"branch_end"}, {"head"}) or made == {"gate"} and use.parameter in parts_of.cells.weights


def _rows_of(flow: Flow, parts_of: _PartsOfUses, use: Use, outputs: Outputs) -> RowParts:
    """The part of each row of a weight; rows that reach none of the places have the weight's ordinary part."""
    found: RowParts = {}
    usual = parts_of.part(use)
    for part, operand in [*(output for output in outputs if output[0] != usual), (usual, use.node)]:
        dim, numbers = rows(flow, use, operand)
        for number in numbers:
            found.setdefault((dim, number), part)
    return found
