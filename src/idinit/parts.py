"""What each weight does in a network: its *part*, found from the graph of one forward pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal, cast, get_args

from torch import nn

from .errors import UsageError, did_you_mean
from .flow import Flow, Use
from .graph import Inputs, Node, capture
from .sums import Region, find_gates, find_sides, nearest

Part = Literal[
    "stem",  # first weight(s), from the input to the main path
    "trunk",  # a layer on the main path that no shortcut bypasses
    "branch",  # inside a residual branch
    "branch_end",  # the last weight of a residual branch
    "shortcut",  # a projection on the other side of a residual sum
    "gate",  # multiplied into the value, as in squeeze-excite
    "query",
    "key",
    "value",
    "embedding",
    "position",
    "recurrent",
    "norm",  # scale or shift of a normalization
    "bias",
    "scale",  # a learnable multiplier that is not part of a normalization
    "head",  # last weight(s), from the main path to the output
]
PARTS: tuple[str, ...] = get_args(Part)


@dataclass(frozen=True)
class Branch:
    """A residual branch: what one sum adds to the main path.

    Attributes:
        weights: Names of its weight parameters (convolutions, linear maps; no norms, no biases) in the order in which the
            value flows through them; the last one is the ``branch_end``.
        output: Dotted name of the module whose output enters the sum, or None where it is not a module's output.
        shortcut: Dotted name of the module through which the other side enters the sum; None for a plain identity.
        end_norm: Dotted name of the normalization after the last weight, or None.
    """

    weights: tuple[str, ...]
    output: str | None
    shortcut: str | None = None
    end_norm: str | None = None

    @property
    def end(self) -> str:
        """Name of the branch's last weight."""
        return self.weights[-1]


@dataclass(frozen=True)
class Structure:
    """The parts of a network and its residual branches.

    Attributes:
        parts: Part of every parameter, in the order of ``named_parameters``.
        branches: The residual branches in the order of their sums.
        shared: Names under which a parameter is also known, where it is tied: first name -> the others.
        unknown: Parameters whose part could not be told, with the reason.
    """

    parts: dict[str, Part]
    branches: tuple[Branch, ...]
    shared: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)


def find_parts(model: nn.Module, example_inputs: Inputs) -> dict[str, Part]:
    """The part of every parameter whose part can be told; see `find_structure`."""
    return find_structure(model, example_inputs).parts


def find_structure(
    model: nn.Module, example_inputs: Inputs, *, overrides: Mapping[str, Part] | None = None
) -> Structure:
    """Finds what each parameter does, from the graph of one forward pass; names and classes play no role.

    A *residual sum* adds values that share an ancestor; the side with the fewest weights is the shortcut, the others are
    branches. Maps on no side of a sum are on the main path: ``head`` where no map follows, ``stem`` before the first
    residual sum, ``trunk`` elsewhere. In a network without residual sums, the ``stem`` is the first map.

    Args:
        model: Any module; it is left exactly as it was.
        example_inputs: The forward pass' positional arguments, or a mapping of its keyword arguments.
        overrides: Shell patterns of parameter names, and the part of the parameters they match; the last match holds.

    Returns:
        The parts, residual branches, shared parameters, and what could not be told.

    Raises:
        UsageError: If the model does not run on the inputs, or an override matches nothing or names no part.
    """
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    chosen = _overridden(sizes, overrides or {})
    flow = Flow(capture(model, example_inputs))
    maps = [use for use in flow.uses if use.is_map]
    sides = sorted(find_sides(flow, maps, sizes, set()), key=lambda side: side.sum.index)
    regions = sorted([*sides, *find_gates(flow, maps)], key=lambda region: len(region.uses))
    innermost = {id(use): region for region in reversed(regions) for use in region.uses}
    branches = [side for side in sides if side.kind == "branch"]
    ends = {id(end) for side in branches for end in nearest(flow, maps, side.operand) if end in side.uses}
    found: dict[str, set[str]] = {}
    for use in flow.uses:
        found.setdefault(use.parameter, set()).add(_part(flow, use, maps, sides, innermost, ends))
    parts = {name: cast(Part, min(found[name], key=_PRIORITY.index)) for name in sizes if found.get(name, {""}) != {""}}
    unknown = {
        name: "enters an operator whose use of it is not understood" if name in found else "takes no part in the forward pass"
        for name in sizes
        if name not in parts
    }
    return Structure(
        parts={name: part for name in sizes if (part := chosen.get(name) or parts.get(name))},
        branches=tuple(branch for side in branches if (branch := _branch(flow, side, maps, innermost, ends))),
        shared={first: tuple(others) for first, *others in names.values() if others},
        unknown={name: reason for name, reason in unknown.items() if name not in chosen},
    )


# Of a parameter with several uses, the part that comes first here holds: a tied embedding is an embedding and no head.
_PRIORITY = (
    *("embedding", "position", "recurrent", "branch_end", "query", "key", "value", "branch", "trunk", "shortcut", "gate"),
    *("stem", "head", "norm", "bias", "scale", ""),
)


def _overridden(names: Mapping[str, object], overrides: Mapping[str, Part]) -> dict[str, Part]:
    chosen: dict[str, Part] = {}
    for pattern, part in overrides.items():
        if part not in PARTS:
            raise UsageError(f"override '{pattern}': unknown part '{part}': {did_you_mean(part, PARTS)}")
        matches = [name for name in names if fnmatchcase(name, pattern)]
        if not matches:
            raise UsageError(f"override '{pattern}' matches no parameter: {did_you_mean(pattern, names)}")
        chosen.update(dict.fromkeys(matches, part))
    return chosen


def _part(
    flow: Flow, use: Use, maps: list[Use], sides: list[Region], innermost: Mapping[int, Region], ends: set[int]
) -> str:
    if use.role != "weight":
        return use.role
    if id(use) in ends:
        return "branch_end"
    if id(use) in innermost:
        return innermost[id(use)].kind
    bit, ancestors = 1 << use.node.index, flow.ancestors[use.node.index]
    if not any(flow.ancestors[other.node.index] & bit for other in maps if other.node is not use.node):
        return "head"
    if any(ancestors >> side.sum.index & 1 for side in sides):
        return "trunk"
    if any(flow.ancestors[side.sum.index] & bit for side in sides):
        return "stem"
    earlier = [u for u in flow.uses if u.role in ("weight", "recurrent", "embedding") and u.node is not use.node]
    return "trunk" if any(ancestors >> u.node.index & 1 for u in earlier) else "stem"


def _branch(flow: Flow, side: Region, maps: list[Use], innermost: Mapping[int, Region], ends: set[int]) -> Branch | None:
    own = [use for use in side.uses if innermost[id(use)] is side]
    if not own:  # a chain of residual blocks: each is a branch of its own
        return None
    norms: list[Node] = []
    nearest(flow, maps, side.operand, norms)
    other = side.sides[0]
    return Branch(
        weights=tuple(dict.fromkeys(use.parameter for use in sorted(own, key=lambda use: id(use) in ends))),
        output=_module(flow, side.operand, side.sum, own),
        shortcut=None if flow.depends(side.operand, other) else _module(flow, other, side.sum, []),
        end_norm=norms[0].scope[-1][1] if norms and norms[0].scope else None,
    )


def _module(flow: Flow, node: Node, reader: Node, uses: list[Use]) -> str | None:
    """The module whose output a node is: the outermost that has all these uses inside, else the innermost.

    A module that is called more than once is none: what is attached to it would act in other places as well.
    """
    calls = [call for call in node.scope if call not in reader.scope and len(flow.calls[call[1]]) == 1]
    return next((path for key, path in calls if all((key, path) in u.node.scope for u in uses)), calls[-1][1] if calls else None)
