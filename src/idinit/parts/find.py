"""What each weight does in a network: its *part*, found from the graph of one forward pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import cast

from torch import nn
from torch.nn.parameter import is_lazy

from ..errors import UsageError, did_you_mean
from ..graph.addition import addends
from ..graph.dataflow import Flow, Use
from ..graph.node import Node, reach
from ..graph.operators import LOOKUPS, REARRANGEMENTS, SAME
from ..graph.own_inputs import inputs_of
from ..graph.probe import Inputs
from ..graph.traversal import walk_back
from .classify import Analysis, RowParts, analyze
from .identity_value import neutral
from .layout import Layout, find_layout, largest_step
from .made_matrices import made_fans
from .multiplied_heads import find_multiplied
from .recurrent import blocks, keeper
from .reparametrized import find_computed
from .residual_sums import Region
from .structure import MAPS, PARTS, Branch, Part, Slice, Structure, matching, owner_of

_RECTIFIERS = {"relu", "relu6", "hardtanh", "threshold"}  # the slope at zero is 0; ReLU6 is recorded as hardtanh
_MULTIPLIERS = ("mul", "div", "addcmul")


def find_parts(model: nn.Module, example_inputs: Inputs | None = None) -> dict[str, Part]:
    """Finds the part of every parameter that can be classified; see `find_structure`.

    Args:
        model: Any module.
        example_inputs: A tensor, a tuple of the forward pass' arguments, or a mapping of keyword ones; None where the model
            describes its inputs, see `idinit.initialize_`.

    Raises:
        UsageError: If the model does not run on the inputs.
    """
    return find_structure(model, inputs_of(model, example_inputs)).parts


def find_structure(
    model: nn.Module,
    example_inputs: Inputs,
    *,
    overrides: Mapping[str, Part] | None = None,
    analysis: Analysis | None = None,
) -> Structure:
    """Finds what each parameter does, from the graph of one forward pass; names and classes play no role.

    A *residual sum* adds a branch to a shortcut that carries the branch's own input; `idinit.parts.residual_sums` defines it.
    Weights on no side of such a sum are on the main path: ``head`` where no weight follows, ``stem`` before paths first run
    side by side, ``trunk`` elsewhere. In a network without residual sums, the ``stem`` is the first weight. Of attention, the
    weights nearest to the softmax of queries times keys are ``query``, ``key`` and ``value``; without a softmax (linear
    attention, state space models) nothing distinguishes them, and they are ``branch`` or ``trunk``. Where a parameter is idle
    in evaluation mode, e.g. in an auxiliary head, a second forward pass in training mode shows its part.

    Args:
        model: Any module; it is left exactly as it was.
        example_inputs: A tensor, a tuple of the forward pass' arguments, or a mapping of keyword ones.
        overrides: Shell patterns of parameter names, and the part of the parameters they match; the last match holds. A part
            of linear maps is that of the matrices among them: ``{"stem.*": "stem"}`` leaves biases and norms what they are.
        analysis: What `analyze` found in evaluation mode, where it has been called already.

    Returns:
        The parts, residual branches, shared parameters, and the parameters of unknown part.

    Raises:
        UsageError: If the model does not run on the inputs, has parameters without a shape (lazy modules), or if an override
            matches nothing or names no part.
    """
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if is_lazy(parameter):
            raise UsageError(f"'{name}' has no shape yet: run the model once on example_inputs, then ask for its parts")
        names.setdefault(id(parameter), []).append(name)
    chosen = _overridden(model, overrides or {})
    analysis = analysis or analyze(model, example_inputs)
    flows = [analysis.flow]
    if analysis.idle:
        with suppress(UsageError):  # e.g. BatchNorm of a single value
            training = analyze(model, example_inputs, training=True)
            analysis = analysis.complete(training)
            flows.insert(0, training.flow)
    parts = cast(dict[str, Part], analysis.parts) | chosen
    slices = {use.parameter: _gates(use) for flow in flows for use in flow.maps if len(blocks(use)) > 1}
    slices |= {name: tuple(_runs(lines)) for name, lines in analysis.row_parts.items()}
    biases = {use.parameter: keeper(use) for flow in flows for use in flow.uses if use.role == "bias"} | analysis.keepers
    made = [made_fans(flow) for flow in flows]
    declared: dict[str, Layout | None] = {name: layout_by_hand(model, name) for name in chosen if chosen[name] in MAPS}
    branches = [(side.sum, branch) for side in analysis.sides if side.kind == "branch" and (branch := _branch(analysis, side))]
    return Structure(
        parts={name: parts[name] for name, _ in model.named_parameters() if name in parts},
        branches=tuple(branch for _, branch in branches),
        towers=tuple(_towers(analysis.flow, [node for node, _ in branches])),
        shared={first: tuple(others) for first, *others in names.values() if others},
        unknown={name: reason for name, reason in analysis.unknown.items() if name not in chosen},
        slices={name: runs for name, runs in slices.items() if name not in chosen},
        layouts=declared | {use.parameter: find_layout(flow, use) for flow in flows for use in reversed(flow.maps)},
        neutral={use.parameter: neutral(flow, use) for flow in flows for use in flow.uses if use.role in ("norm", "scale")},
        keepers={name: Slice(0, *rows, "bias") for name, rows in biases.items() if rows},
        gains=tuple(dict.fromkeys(_gains(analysis))),
        heads=analysis.heads,
        computed={use.parameter: how for flow in flows for use in reversed(flow.maps) if (how := find_computed(flow, use))},
        coordinates=frozenset(use.parameter for flow in flows for use in _coordinates(flow)),
        made={use.parameter: fan for fans in made for use, fan in fans.items() if parts.get(use.parameter) == "gate"},
        bilinear=analysis.bilinear,
        bare=_bare_tables(analysis, [use.node for use in made[-1]]),  # of the pass in evaluation mode
        added=frozenset(use.parameter for flow in flows for use in flow.maps if _is_added(flow, use)),
        rectified=frozenset(_rectified(analysis)),
        multiplied=find_multiplied(analysis.flow, {name for name, part in parts.items() if part == "head"}),
        hookable=frozenset(name for name, calls in analysis.flow.calls.items() if len(calls) == 1) & analysis.flow.hookable,
        alone=frozenset(_alone(analysis.flow)),
    )


def _coordinates(flow: Flow) -> Iterator[Use]:
    """The maps that make the sampling grids and offsets of operators that read a value at places of the network's choice."""
    for node in flow.nodes:
        places = node.arguments.get("grid" if node.op.startswith("grid_sampler") else "offset")
        if isinstance(places, Node) and (node.op.startswith("grid_sampler") or node.op == "deform_conv2d"):
            yield from walk_back(flow, places).maps


def _bare_tables(analysis: Analysis, makers: list[Node]) -> frozenset[str]:
    """The tables, no layer's weight as well, from which what is looked up reaches no normalization and no residual sum.

    What only makes matrices counts, whatever these are applied to, and be it a learned token.
    """
    flow, reached = analysis.flow, 0
    for index in flow.norms | {side.sum.index for side in analysis.sides}:
        reached |= flow.ancestors[index]
    looked_up = {use.parameter for use in flow.uses if use.role == "embedding" and use.node.op in LOOKUPS}
    others = {use.parameter for use in flow.uses if use.role == "weight" or reached >> use.node.index & 1}
    carrying = {n.index for n in reach([flow.nodes[-1]], flow.values)}
    tokens = [use for use in flow.uses if use.role == "embedding" and use.node.index not in carrying]
    making = {use.parameter for use in tokens if any(flow.depends(maker, use.node) for maker in makers)}
    return frozenset(looked_up - others | making)


def _alone(flow: Flow) -> Iterator[str]:
    """The linear maps whose module applies no other one and adds no values up, as a block may whose weights are its own."""
    work: Counter[tuple[str, str]] = Counter()
    for node in flow.nodes:
        if node.index in flow.maps_at or sum(flow.active[n.index] for n in addends(node)) > 1:
            work.update(node.scope)
    for use in flow.maps:
        if any(work[call] == 1 and call[1] == owner_of(use.parameter) for call in use.node.scope):
            yield use.parameter


def _is_added(flow: Flow, use: Use) -> bool:
    """Whether what a map puts out is added to another value, as it is, rearranged, or with factors that need no input."""
    node = use.node
    while len(readers := flow.readers(node)) == 1:
        reader = readers[0]
        if any(flow.active[n.index] and n is not node for n in addends(reader)):
            return True
        is_scaled = reader.op in ("mul", "div") and not any(flow.active[n.index] for n in reader.inputs if n is not node)
        if reader.op not in REARRANGEMENTS and not addends(reader) and not is_scaled:
            return False
        node = reader
    return False


def _rectified(analysis: Analysis) -> Iterator[str]:
    """The last weights of branches after which a ReLU follows inside the branch."""
    for side in analysis.sides:
        passed = walk_back(analysis.flow, side.operand).passed
        if any(passed >> node.index & 1 and node.op in _RECTIFIERS for node in analysis.flow.nodes):
            yield from (use.parameter for use in side.ends)


def _overridden(model: nn.Module, overrides: Mapping[str, Part]) -> dict[str, Part]:
    """The parts that were asked for."""
    dims = {name: parameter.ndim for name, parameter in model.named_parameters()}
    chosen: dict[str, Part] = {}
    if not isinstance(overrides, Mapping) or not all(isinstance(pattern, str) for pattern in overrides):
        raise UsageError(f"parts={overrides!r:.60}: give {{pattern of names of parameters: part}}, or a Structure")
    for pattern, part in overrides.items():
        if part not in PARTS:
            raise UsageError(f"override '{pattern}': unknown part '{part}': {did_you_mean(part, PARTS)}")
        matches = matching(pattern, dims, "override")
        if part in MAPS and not (matches := [name for name in matches if dims[name] > 1]):
            raise UsageError(f"override '{pattern}' matches vectors only, and a {part} is a matrix or a convolution's weight")
        chosen.update(dict.fromkeys(matches, part))
    return chosen


def _branch(analysis: Analysis, side: Region) -> Branch | None:
    own, shortcut = analysis.own(side), side.shortcut
    if shortcut is None or not own or own[-1] not in side.ends:  # its ends are those of branches inside it, or it has none
        return None
    is_identity = analysis.flow.depends(side.operand, shortcut.operand)
    return Branch(
        weights=tuple(dict.fromkeys(use.parameter for use in own)),
        output=_output(analysis.flow, side, own),
        shortcut=None if is_identity else _module(analysis.flow, shortcut.operand, shortcut.reader, []),
        end_norm=next((node.scope[-1][1] for node in side.norms if node.scope), None),
        scales=tuple(dict.fromkeys(_scales(analysis.flow, side))),
        sum_norm=_reader(analysis.flow, side.sum),
        depth=_depth(analysis.flow, own),
    )


def _depth(flow: Flow, uses: list[Use]) -> int:
    """The most maps that follow one another."""
    depths: dict[Use, int] = {}
    for use in sorted(uses, key=lambda use: use.node.index):
        depths[use] = 1 + max((depth for other, depth in depths.items() if flow.depends(use.node, other.node)), default=0)
    return max(depths.values())


def _towers(flow: Flow, sums: list[Node]) -> list[int]:
    """The tower of each residual sum: that of the last sum that it depends on, or a new one."""
    towers: list[int] = []
    for i, node in enumerate(sums):
        before = [tower for other, tower in zip(sums[:i], towers, strict=True) if other is node or flow.depends(node, other)]
        towers.append(before[-1] if before else max(towers, default=-1) + 1)
    return towers


def _reader(flow: Flow, node: Node) -> str | None:
    """The module of the normalization that is a node's only reader."""
    while len(node.users) == 1 and node.users[0].op in SAME:
        node = node.users[0]
    norms = [user for user in node.users if user.index in flow.norms and user.scope]
    return norms[0].scope[-1][1] if len(norms) == len(node.users) == 1 else None


def _output(flow: Flow, side: Region, own: list[Use]) -> str | None:
    """The module that returns what a branch adds, or else the one that drops out of it."""
    node, found = side.operand, _module(flow, side.operand, side.reader, own)
    while found is None and len(node.users) == 1 and node.users[0].op in SAME:
        node = node.users[0]
        found = _module(flow, node, side.reader, [])
    return found


def _scales(flow: Flow, side: Region) -> Iterator[str]:
    """The parameters that a branch's value is multiplied with after its last weight."""
    after = walk_back(flow, side.operand).passed | 1 << side.reader.index
    for use in flow.uses:
        if use.role == "scale" and after >> use.node.index & 1 and use.node.op in _MULTIPLIERS:
            yield use.parameter


def _gains(analysis: Analysis) -> Iterator[str]:
    """The scales that all of the main path goes through, between two of its layers."""
    flow = analysis.flow
    for use in flow.uses:
        if use.role == "scale" and use.node.op in _MULTIPLIERS:
            walk = walk_back(flow, use.node)
            parts = {analysis.parts.get(made_by.parameter) for made_by in walk.maps}
            if parts and parts <= {"stem", "trunk"} and not _is_bypassed(flow, use.node, walk.passed):
                yield use.parameter


def _is_bypassed(flow: Flow, node: Node, before: int) -> bool:
    """Whether one of the nodes in a set before a node is also read by what does not lead to that node."""
    read = (n for n in flow.nodes[: node.index] if before >> n.index & 1)
    return any(flow.active[user.index] and not flow.depends(node, user) for n in read for user in n.users)


def _module(flow: Flow, node: Node, reader: Node, uses: list[Use]) -> str | None:
    """The module whose output a node is: the outermost that has all these uses inside, else the innermost.

    Only a module that returns one tensor and is called once will do: what a hook does to it happens nowhere else.
    """
    calls = [c for c in node.scope if c not in reader.scope and len(flow.calls[c[1]]) == 1 and c[1] in flow.hookable]
    whole = (path for key, path in calls if all((key, path) in use.node.scope for use in uses))
    if calls:
        return next(whole, calls[-1][1])
    moved = node.op in REARRANGEMENTS - {"getitem"} and len(node.inputs[0].users) == 1
    return _module(flow, node.inputs[0], reader, uses) if moved else None


def _gates(use: Use) -> tuple[Slice, ...]:
    """The value and the gates of a recurrent layer's weight, as slices."""
    parts = blocks(use)
    size = use.operand.shape[0] // len(parts)
    return tuple(_runs({(0, row): parts[row // size] for row in range(use.operand.shape[0])}))


def _runs(lines: RowParts) -> Iterator[Slice]:
    """Neighbouring indices with the same part, as slices."""
    start = None
    for dim, number in sorted(lines):
        part = lines[dim, number]
        start = number if start is None else start
        if lines.get((dim, number + 1)) != part:
            yield Slice(dim, start, number + 1, cast(Part, part))
            start = None


def layout_by_hand(model: nn.Module, name: str) -> Layout:
    """How a parameter holds matrices by the module that uses it, where its part was not found but declared."""
    module, value = model.get_submodule(owner_of(name)), model.get_parameter(name)
    kernel = tuple(range(2, value.ndim))
    groups = getattr(module, "groups", 1) if kernel else 1
    is_transposed = getattr(module, "transposed", False)  # stored as [in, out, *kernel]
    stride = largest_step(getattr(module, "stride", 1)) if kernel else 1
    return Layout((int(is_transposed),), (1 - int(is_transposed),), kernel, groups, stride)
