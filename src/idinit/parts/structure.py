"""The parts of a network: what each weight does in it, and how its parameters hold the weights."""

from __future__ import annotations

import glob
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal, get_args

from ..errors import UsageError, nearest
from .heads import Heads
from .layout import Layout
from .reparametrized import Computed

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
# The parts that linear maps can have. A parameter with one of them that no linear map uses is a learned token.
MAPS = ("stem", "trunk", "branch", "branch_end", "shortcut", "gate", "query", "key", "value", "recurrent", "head")


@dataclass(frozen=True)
class Branch:
    """A residual branch: what one sum adds to the main path.

    Attributes:
        weights: Names of its weight parameters (convolutions, linear maps; no norms, no biases) in the order in which the
            value flows through them; the last one is the ``branch_end``.
        output: Dotted name of the module whose output enters the sum, as it is or reshaped, or None where it is no module's
            output. The module returns one tensor and is called once, so that a forward hook can act on the branch.
        shortcut: Dotted name of the module through which the other side enters the sum; None for a plain identity.
        end_norm: Dotted name of the normalization after the last weight, or None.
        scales: Names of the parameters that multiply the value after the last weight, such as LayerScale's.
        sum_norm: Dotted name of the normalization that is all that reads the sum, as in a post-norm transformer, or None.
        depth: The most weights that follow one another in it; parallel ones count once. 0 where that is not known.
    """

    weights: tuple[str, ...]
    output: str | None
    shortcut: str | None = None
    end_norm: str | None = None
    scales: tuple[str, ...] = ()
    sum_norm: str | None = None
    depth: int = field(default=0, compare=False)

    @property
    def end(self) -> str:
        """Name of the branch's last weight."""
        return self.weights[-1]


@dataclass(frozen=True)
class Slice:
    """A part of a parameter: indices ``start`` to ``stop`` (exclusive) of dimension ``dim``."""

    dim: int
    start: int
    stop: int
    part: Part


@dataclass(frozen=True)
class Structure:
    """The parts of a network and its residual branches.

    Attributes:
        parts: Part of every parameter, in the order of ``named_parameters``; one of them where it has several.
        branches: The residual branches in the order of their sums.
        shared: Names under which a parameter is also known, where it is tied: first name -> the others.
        unknown: Parameters whose part was not found, with the reason.
        slices: Parameters that have several parts side by side, e.g. query, key and value, from first to last index.
        layouts: How the parameter of each linear map holds its matrices; None where that is not known. Empty in a
            structure by hand: each is [out, in, *kernel].
        neutral: The values at which norms and the scales of branches change nothing; None where that is not known.
        keepers: Biases of recurrent layers, and which of their indices belong to the gate that keeps the state.
        gains: Names of the scales that multiply what layers of the main path put out.
        heads: The weights of each attention.
        computed: Linear maps whose weight their layer computes from the parameter, and how.
        coordinates: Names of linear maps whose outputs say where another value is read: sampling grids, deformable offsets.
        made: Names of linear maps whose outputs are the entries of matrices that values are multiplied with, and the largest
            fan-in of these.
        bilinear: Names of the linear maps that make gates without an activation function, the first factors of products such as
            ``a(x) * b(x)``.
        bare: Names of tables from which what is looked up reaches no normalization and no residual sum, or only makes matrices.
        added: Names of linear maps whose outputs are added to other values.
        rectified: Names of the last weights of branches after which a ReLU follows inside the branch.
        multiplied: Names of the heads whose outputs are multiplied with those of other heads.
        hookable: Names of the modules that return one tensor and are called once, so that a forward hook can act on what
            they return; None in a structure by hand: all.
        alone: Names of linear maps that are all that their module applies, so that a hook on the module acts on what the map
            reads and makes, and on nothing else; None in a structure by hand: all.
        towers: For each branch the number of its tower: branches that do not follow one another, as those of CLIP's two
            encoders or of an encoder and its decoder's first layer, have two. Empty in a structure by hand: there is one.
    """

    parts: dict[str, Part]
    branches: tuple[Branch, ...]
    shared: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)
    slices: dict[str, tuple[Slice, ...]] = field(default_factory=dict)
    layouts: dict[str, Layout | None] = field(default_factory=dict)
    neutral: dict[str, float | None] = field(default_factory=dict)
    keepers: dict[str, Slice] = field(default_factory=dict)
    gains: tuple[str, ...] = ()
    heads: tuple[Heads, ...] = ()
    computed: dict[str, Computed] = field(default_factory=dict)
    coordinates: frozenset[str] = frozenset()
    made: dict[str, int] = field(default_factory=dict)
    bilinear: frozenset[str] = frozenset()
    bare: frozenset[str] = frozenset()
    added: frozenset[str] = frozenset()
    rectified: frozenset[str] = frozenset()
    multiplied: frozenset[str] = frozenset()
    hookable: frozenset[str] | None = None
    alone: frozenset[str] | None = None
    towers: tuple[int, ...] = ()


def owner_of(name: str) -> str:
    """Dotted name of the module that uses a parameter; a parametrized one is stored in a list below that module."""
    return name.rpartition(".")[0].partition(".parametrizations.")[0]


def matching(pattern: str, names: Iterable[str], what: str) -> list[str]:
    """Returns the parameters whose names a shell pattern matches.

    Raises:
        UsageError: If there are none; ``what`` says what the pattern is for.
    """
    names = list(names)
    if found := [name for name in names if fnmatchcase(name, pattern)]:
        return found
    raise UsageError(
        f"{what}: '{pattern}' matches no parameter: {nearest(pattern, names) or 'model.named_parameters() has all'}"
    )


def patterns_for(wanted: Collection[str], names: Collection[str]) -> tuple[str, ...]:
    """Shell patterns that match parameters and no others: of all layers with other numbers, of whole modules, or else names.

    Args:
        wanted: The names of the parameters to match.
        names: Those of all parameters.
    """
    found = []
    for name in map(glob.escape, wanted):
        module = f"{name.rpartition('.')[0]}.*"
        for pattern in (*(re.sub(r"(?<![^.])\d+(?![^.])", "*", own) for own in (module, name)), module):
            matches = {other for other in names if fnmatchcase(other, pattern)}
            if matches and matches <= set(wanted):
                break
        else:
            pattern = name
        found.append(pattern)
    return tuple(dict.fromkeys(found))
