"""What an initializer gets: a network as a list of weights with their parts, and the means to fill them.

Methods work on parts and never on model classes. A method says only what is special about it: norms, biases and
whatever it does not mention get the rules of `idinit.shared_rules`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from .analysis.layout import Layout
from .blocks import block_shape, fill_blocks
from .errors import UsageError
from .parts import Branch, Slice, Structure
from .scalars import Kind, Scalar, attach_scalar

# The parts of linear maps; of those, what is nobody's map is a learned token.
MAPS = ("stem", "trunk", "branch", "branch_end", "shortcut", "gate", "query", "key", "value", "recurrent", "head")
LEFT_ALONE = "left alone"


@dataclass(frozen=True)
class Weight:
    """A linear map: a convolution or a matrix.

    Attributes:
        name: Name of the parameter.
        part: What it does in the network.
        shape: Shape of one block, (out, in, *kernel). A grouped convolution is that many small ones side by side, a
            recurrent layer has gates, a mixture experts; each block is filled on its own.
        branch: The residual branch it belongs to, if any.
        pieces: The indices that belong to it, where the parameter holds several weights (query, key and value).
    """

    name: str
    part: str
    shape: torch.Size
    branch: Branch | None
    pieces: tuple[Slice, ...] = ()


@dataclass(frozen=True)
class Row:
    """One line of the report: a parameter, what it is, and by which rule it was filled."""

    parameter: str
    shape: tuple[int, ...]
    part: str
    rule: str
    note: str = ""


class Network:
    """The workspace of an initializer.

    Attributes:
        model: The network.
        structure: Its parts and residual branches.
        generator: The one source of randomness, on the CPU.
        kept: The parameters that nothing may change, and why.
        layouts: How the parameter of each linear map holds its matrices; None where that could not be told.
    """

    def __init__(
        self, model: nn.Module, structure: Structure, generator: Generator, kept: Mapping[str, str] | None = None
    ) -> None:
        self.model = model
        self.structure = structure
        self.generator = generator
        self.kept = kept or {}
        self._parameters = dict(model.named_parameters())
        self._filled: dict[str, list[tuple[str, str, str]]] = {}  # of each parameter: part, rule and note of what it holds
        self._scalars: dict[str, Row] = {}
        self.layouts = structure.layouts or {name: self._layout_by_hand(name) for name in self.names(*MAPS)}
        self._branch_of = {name: branch for branch in structure.branches for name in branch.weights}

    @property
    def branches(self) -> tuple[Branch, ...]:
        """The residual branches; their number is the L of Fixup and SkipInit."""
        return self.structure.branches

    def weights(self, *parts: str) -> list[Weight]:
        """The linear maps of the given parts, or all of them, in the order of the network's parameters."""
        found = []
        for name, value in self._parameters.items():
            layout, slices = self.layouts.get(name), self.structure.slices.get(name, ())
            if value.ndim < 2 or layout is None:
                continue
            for part in dict.fromkeys(piece.part for piece in slices) or [self.structure.parts.get(name)]:
                if part in (parts or MAPS):
                    pieces = tuple(piece for piece in slices if piece.part == part)
                    shape = block_shape(value, layout, pieces)
                    found.append(Weight(name, part, shape, self._branch_of.get(name), pieces))
        return found

    def names(self, *parts: str) -> list[str]:
        """The names of the parameters of the given parts, or of all, in the order of the network's parameters."""
        return [name for name in self._parameters if not parts or self.structure.parts.get(name) in parts]

    def rest(self) -> list[str]:
        """The names of the parameters that are not filled yet, nor left alone."""
        return [name for name in self._parameters if name not in self._filled]

    def fill(
        self, weight: Weight | str, rule: str, init: Callable[[Tensor], object], note: str = "", by_group: bool = True
    ) -> None:
        """Fills a weight, or a parameter that is none, and records by which rule.

        Args:
            weight: The weight; or the name of a parameter, which is filled as it is.
            rule: What the report says.
            init: Fills a tensor in place: each block of the weight, as [out, in, *kernel]. It gets contiguous CPU memory in
                float32 or better, so the same seed gives the same bytes whatever the parameter's device, dtype and memory
                format are.
            note: What else the report says.
            by_group: Whether the groups of a convolution are blocks of their own, or one, [out, in / groups, *kernel].
        """
        name, part, pieces = (weight, "", ()) if isinstance(weight, str) else (weight.name, weight.part, weight.pieces)
        if name in self.kept:
            return self.leave(name, self.kept[name])
        value = self._parameters[name].detach()
        layout = Layout((), (), tuple(range(value.ndim))) if isinstance(weight, str) else self.layouts[name]
        assert layout is not None
        fill_blocks(value, layout, init if part else lambda w: init(w[0, 0]), pieces, by_group)
        self._record(name, rule, note, part)

    def fill_default(self, weight: Weight, note: str = "") -> None:
        """Fills a weight as torch's convolutions and linear layers do: U(-b, b), b = 1/sqrt(fan-in)."""
        self.fill(weight, "torch default", lambda w: _torch_default_(w, self.generator), note)

    def set(self, name: str, value: Tensor, rule: str, note: str = "") -> None:
        """Copies a value into a parameter and records by which rule."""
        if name in self.kept:
            return self.leave(name, self.kept[name])
        with torch.no_grad():
            self._parameters[name].copy_(value)
        self._record(name, rule, note)

    def neutral(self, name: str) -> float | None:
        """The value at which a scale or a shift changes nothing; None where that could not be told."""
        by_name = 0.0 if name.rpartition(".")[2] in ("bias", "beta", "shift") else 1.0
        return self.structure.neutral.get(name, by_name)

    def neutralize(self, name: str, note: str = "") -> None:
        """Gives a scale or a shift the value at which it changes nothing."""
        value = self.neutral(name)
        if value is None:
            return self.leave(name, "at which value it changes nothing could not be told")
        self.fill(name, f"{value:g}", lambda w: w.fill_(value), note)

    def open_branches(self) -> None:
        """Lets the branches pass: where a branch starts almost silent by itself, a small factor on it would be one too many.

        Two factors near zero in a row, as an almost silent last weight and a LayerScale of 1e-6, learn from each other only.
        """
        for name in dict.fromkeys(name for branch in self.branches for name in branch.scales):
            self.neutralize(name, "the last weight keeps its branch silent")

    def leave(self, name: str, reason: str) -> None:
        """Records that a parameter keeps its value, and why."""
        self._record(name, LEFT_ALONE, reason)

    def add_scalar(
        self,
        kind: Kind,
        value: float,
        weight: str,
        *,
        at: str | None = None,
        also: str | None = None,
        lr_scale: float = 1.0,
    ) -> None:
        """Adds a learnable scalar to the network.

        Args:
            kind: What it does there.
            value: Its initial value.
            weight: Name of the weight whose module keeps it.
            at: Dotted name of the module it acts on; None for the module of ``weight``.
            also: Dotted name of a second module it acts on, with the same number.
            lr_scale: Factor on its learning rate.

        Raises:
            UsageError: If the weight has such a scalar already, as one that several branches share would.
        """
        owner = owner_of(weight)
        name = ".".join(filter(None, (owner, kind, "value")))
        if name in self._scalars:
            raise UsageError(
                f"'{weight}' is used by several branches and cannot have a scalar of its own for each: use init=idinit"
            )
        places = [owner if at is None else at] + ([] if also is None else [also])
        get = self.model.get_submodule
        attach_scalar(Scalar(kind, value, lr_scale), get(owner), *(get(place) for place in places))
        note = "added" if places == [owner] else f"added, acts on {' and '.join(places)}"
        part = "scale" if kind == "output_scale" else "bias"
        self._scalars[name] = Row(name, (1,), part, f"{value:.4g}", note + (f", lr x {lr_scale:g}" if lr_scale != 1 else ""))

    def rows(self) -> list[Row]:
        """A row for every parameter, those of the network first, added scalars last."""
        return [self._row(name) for name in self._parameters] + list(self._scalars.values())

    def _record(self, name: str, rule: str, note: str, part: str = "") -> None:
        self._filled.setdefault(name, []).append((part, rule, note))

    def _row(self, name: str) -> Row:
        """The report's line of a parameter: the rules of the weights it holds, each named once."""
        parts_by_rule: dict[str, list[str]] = {}
        for part, rule, _ in self._filled[name]:
            parts_by_rule.setdefault(rule, []).append(part)
        rules = [f"{', '.join(parts)}: {rule}" if len(parts_by_rule) > 1 else rule for rule, parts in parts_by_rule.items()]
        others = ", ".join(self.structure.shared.get(name, ()))
        notes = [*(note for _, _, note in self._filled[name]), f"shared with {others}" if others else ""]
        part = self.structure.parts.get(name, "unknown")
        shape = tuple(self._parameters[name].shape)
        return Row(name, shape, part, "; ".join(rules), "; ".join(filter(None, dict.fromkeys(notes))))

    def _layout_by_hand(self, name: str) -> Layout:
        """How a parameter holds matrices, by its module, where the structure was written by hand."""
        module, kernel = self.model.get_submodule(owner_of(name)), tuple(range(2, self._parameters[name].ndim))
        groups = getattr(module, "groups", 1) if kernel else 1
        is_transposed = getattr(module, "transposed", False)  # stored as [in, out, *kernel]
        return Layout((int(is_transposed),), (1 - int(is_transposed),), kernel, groups)


def owner_of(name: str) -> str:
    """Dotted name of the module that uses a parameter; a parametrized one is stored in a list below that module."""
    return name.rpartition(".")[0].partition(".parametrizations.")[0]


def _torch_default_(w: Tensor, generator: Generator) -> Tensor:
    return nn.init.kaiming_uniform_(w, a=math.sqrt(5), generator=generator)
