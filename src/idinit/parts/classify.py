"""The parts of the uses of parameters, as read from the graph of a forward pass."""

from __future__ import annotations

from collections.abc import Mapping

from ..graph.dataflow import Flow, Use
from ..graph.node import Node
from ..graph.traversal import walk_back
from .attention import find_attention
from .heads import Heads, find_heads
from .residual_sums import Region, find_forks, find_gates, find_loops, find_sides
from .row_labels import rows

# Of a parameter with several parts, the one that comes first here stands for it: a tied embedding is no head.
_PRIORITY = (
    *("embedding", "position", "recurrent", "branch_end", "query", "key", "value", "branch", "trunk", "shortcut", "gate"),
    *("stem", "head", "norm", "bias", "scale", ""),
)
Lines = dict[tuple[int, int], str]


class Reading:
    """What each parameter does.

    Attributes:
        flow: What depends on what.
        sides: The sides of the residual sums, in the order of the sums.
        parts: The part of each parameter that could be told.
        lines: Of parameters with several parts side by side, the part of each index of a dimension: (dim, index) -> part.
        heads: The weights of each attention that has one each for queries, keys, values and output.
        unknown: The other parameters, with the reason.
        idle: Those of them that take no part in the forward pass.
    """

    def __init__(self, flow: Flow, sizes: Mapping[str, int]) -> None:
        self.flow = flow
        self._loops = find_loops(flow)
        self._joins, self._on_paths = find_forks(flow, self._loops)
        attentions = list(find_attention(flow))
        self._inside = {index for attention in attentions for index in attention.inside}
        products = {index for attention in attentions for index in attention.products}
        regions = [*find_sides(flow, self._inside, products), *find_gates(flow, products)]
        of_loops = {region.sum.index for region in regions if self._loops & {use.parameter for use in region.uses}}
        regions = [region for region in regions if region.sum.index not in of_loops]
        self.sides = sorted((r for r in regions if r.kind != "gate"), key=lambda side: side.sum.index)
        self._innermost = {id(u): r for r in sorted(regions, key=lambda r: len(r.uses), reverse=True) for u in r.uses}
        self._ends = {id(use) for side in self.sides for use in side.ends}
        self._taps: dict[int, list[tuple[str, Node]]] = {}
        sums = frozenset(side.sum.index for side in self.sides)
        for attention in attentions:
            self._tap(attention.operands, sums)
        self.heads: list[Heads] = [heads for a in attentions if (heads := find_heads(flow, a, sums))]
        for index, gate in flow.coefficients.items():
            self._tap_packed(gate, flow.values(flow.nodes[index]))
        self.parts: dict[str, str] = {}
        self.lines: dict[str, Lines] = {}
        self.unknown: dict[str, str] = {}
        self._read(sizes)
        self.idle = sizes.keys() - {use.parameter for use in flow.uses}
        self.unknown |= dict.fromkeys(sorted(self.idle), "takes no part in the forward pass")

    def own(self, side: Region) -> list[Use]:
        """The maps of a side through which its values flow and that are in no region inside it; the ends come last."""
        own = [use for use in side.uses if self._innermost[id(use)] is side and self._carries(use)]
        return sorted(own, key=lambda use: use in side.ends)

    def complete(self, training: Reading) -> None:
        """Adds what only a forward pass in training mode tells: the parts of parameters that are idle in this one."""
        told = self.idle - training.idle
        self.parts |= {name: part for name, part in training.parts.items() if name in told}
        self.lines |= {name: lines for name, lines in training.lines.items() if name in told}
        idle = {name: reason for name, reason in self.unknown.items() if name not in told}
        self.unknown = idle | {name: reason for name, reason in training.unknown.items() if name in told}

    def _tap(self, operands: list[tuple[str, Node]], stop: frozenset[int]) -> None:
        """Notes which maps make the operands of an attention; they lie after the nodes ``stop``."""
        found = [(use, part, n) for part, n in operands for use in walk_back(self.flow, n, stop).maps]
        makers = {use.node for use, part, _ in found if part != "position"}
        for use, part, operand in found:
            # Where an operand is not made by a map of its own, the nearest one is behind those of the other operands.
            is_behind = any(self.flow.depends(other, use.node) for other in makers if other is not use.node)
            if use.role == "weight" and not is_behind:
                self._taps.setdefault(id(use), []).append((part, operand))

    def _tap_packed(self, gate: Node, values: list[Node]) -> None:
        """Notes a map that makes a gate and the value it is multiplied into side by side."""
        if len(values) != 1 or self.flow.depends(gate, values[0]):
            return
        makers = [walk_back(self.flow, node).maps for node in (gate, values[0])]
        if len(makers[0]) == 1 and makers[0] == makers[1] and id(makers[0][0]) not in self._taps:
            self._taps[id(makers[0][0])] = [("gate", gate), ("", values[0])]

    def _read(self, sizes: Mapping[str, int]) -> None:
        found: dict[str, set[str]] = {name: set() for name in sizes}
        for use in self.flow.uses:
            name = use.parameter
            taps = [(self._part(use, part), operand) for part, operand in self._taps.get(id(use), [("", use.node)])]
            parts = {part for part, _ in taps}
            if len(parts) > 1 or (parts & {"query", "key", "value"} and use.operand.op != "parameter"):
                try:
                    self.lines.setdefault(name, {}).update(self._lines(use, taps))
                except LookupError:
                    parts = {self._part(use, "")} if "gate" in parts else {"several"}
                    self.unknown[name] = "holds queries, keys or values side by side, but not where is what"
            elif "" in parts:
                self.unknown[name] = f"what the operator {use.node.op} does with it is not understood"
            found[name] |= parts
        self.lines = {name: lines for name, lines in self.lines.items() if len(set(lines.values())) > 1}
        self.parts = {n: min(p, key=_PRIORITY.index) for n, p in found.items() if p and p != {""} and "several" not in p}
        self.parts |= {
            name: min(lines.values(), key=_PRIORITY.index) for name, lines in self.lines.items() if name in self.parts
        }
        self.unknown = {name: reason for name, reason in self.unknown.items() if name not in self.parts}

    def _lines(self, use: Use, taps: list[tuple[str, Node]]) -> Lines:
        """The part of each row of a weight; rows that reach none of the operands have the weight's ordinary part."""
        lines: Lines = {}
        for part, operand in [*taps, (self._part(use, ""), use.node)]:
            dim, numbers = rows(self.flow, use, operand)
            for number in numbers:
                lines.setdefault((dim, number), part)
        return lines

    def _carries(self, use: Use) -> bool:
        """Whether values flow through a map: not through one that only makes queries, keys, scores, gates or positions."""
        if use.node.index in self._inside:
            return False
        parts = {self._part(use, tapped) for tapped, _ in self._taps.get(id(use), [("", use.node)])}
        return not parts <= {"query", "key", "gate", "position"}

    def _part(self, use: Use, tapped: str) -> str:
        """The part of a use; ``tapped`` is what an attention or a gate makes of the weight's output, if any."""
        if use.role != "weight":
            return use.role
        if use.parameter in self._loops:
            return "recurrent"
        if id(use) in self._ends and tapped in ("", "value"):
            return "branch_end"
        if tapped:
            return tapped
        if not any(self.flow.fed[node.index] for node in use.node.inputs):
            return "position"
        if id(use) in self._innermost:
            return self._innermost[id(use)].kind
        return self._part_on_main_path(use)

    def _part_on_main_path(self, use: Use) -> str:
        flow, bit, ancestors = self.flow, 1 << use.node.index, self.flow.ancestors[use.node.index]
        if not flow.followed & bit:
            return "head"
        if ancestors & self._joins or self._on_paths & bit:
            return "trunk"
        if any(flow.ancestors[side.sum.index] & bit for side in self.sides):
            return "stem"
        earlier = [u for u in flow.uses if u.role in ("weight", "recurrent", "embedding") and u.node is not use.node]
        return "trunk" if any(ancestors >> u.node.index & 1 for u in earlier) else "stem"
