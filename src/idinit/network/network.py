"""The workspace of an initializer: a network as a list of weights with their parts, and methods to fill them.

Methods work on parts and never on model classes. A method says only what is special about it: norms, biases and
whatever it does not mention get the rules of `idinit.initializers._default_rules`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Generator, Tensor, nn

from ..errors import UsageError
from ..graph.probe import Inputs
from ..parts.blocks import block_shape
from ..parts.find import layout_by_hand
from ..parts.layout import Layout
from ..parts.structure import MAPS, Branch, Slice, Structure, owner_of
from .fill import fill_blocks
from .record import LEFT_ALONE, Record, Row
from .reparametrized import fit, settle
from .scalars import Kind, Scalar, attach_scalar, scalar_name


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
        groups: Of a convolution, into how many groups it divides its channels.
        stride: Of a convolution, the largest of its steps.
    """

    name: str
    part: str
    shape: torch.Size
    branch: Branch | None
    pieces: tuple[Slice, ...] = ()
    groups: int = 1
    stride: int = 1


class Network:
    """The workspace of an initializer.

    Attributes:
        model: The network.
        structure: Its parts and residual branches.
        generator: The one source of randomness, on the CPU.
        method: Name of the initializer.
        kept: The parameters that nothing may change, and why.
        layouts: How the parameter of each linear map holds its matrices; None where that is not known.
    """

    def __init__(
        self,
        model: nn.Module,
        structure: Structure,
        generator: Generator,
        method: str = "",
        kept: Mapping[str, str] | None = None,
        example_inputs: Inputs | None = None,
    ) -> None:
        self.model = model
        self.structure = structure
        self.generator = generator
        self.method = method
        self.kept = kept or {}
        self.example_inputs = example_inputs
        self._parameters = dict(model.named_parameters())
        self._record = Record()
        self.layouts = structure.layouts or {name: layout_by_hand(model, name) for name in self.names(*MAPS)}
        self._branch_of = {name: branch for branch in structure.branches for name in branch.weights}

    @property
    def branches(self) -> tuple[Branch, ...]:
        """The residual branches; their number is the L of Fixup and SkipInit."""
        return self.structure.branches

    def weights(self, *parts: str) -> list[Weight]:
        """The linear maps of the given parts, or all of them, in the order of the network's parameters.

        Those that make matrices are not among them, as no method is written for them: see `making`.
        """
        return [weight for weight in self._maps(*parts) if weight.name not in self.structure.made]

    def making(self) -> list[Weight]:
        """The linear maps whose outputs are the entries of matrices that values are multiplied with."""
        return [weight for weight in self._maps() if weight.name in self.structure.made]

    def _maps(self, *parts: str) -> list[Weight]:
        found = []
        for name, value in self._parameters.items():
            layout, slices = self.layouts.get(name), self.structure.slices.get(name, ())
            if value.ndim < 2 or layout is None:
                continue
            for part in dict.fromkeys(piece.part for piece in slices) or [self.structure.parts.get(name)]:
                if part in (parts or MAPS):
                    pieces = tuple(piece for piece in slices if piece.part == part)
                    shape = block_shape(value, layout, pieces)
                    groups, stride = (layout.chunks, layout.stride) if layout.kernel else (1, 1)
                    branch = None if part == "trunk" else self._branch_of.get(name)  # these rows lead out of it
                    found.append(Weight(name, part, shape, branch, pieces, groups, stride))
        return found

    def weight(self, name: str, part: str | None = None) -> Weight:
        """The linear map, or the one of a part, that a parameter holds.

        Raises:
            UsageError: If there is none.
        """
        found = [weight for weight in self.weights() if weight.name == name and part in (None, weight.part)]
        if not found:
            raise UsageError(f"initializer '{self.method}': no {part or 'matrix'} was found in '{name}': use 'idinit'")
        return found[0]

    def names(self, *parts: str) -> list[str]:
        """The names of the parameters of the given parts, or of all, in the order of the network's parameters."""
        return [name for name in self._parameters if not parts or self.structure.parts.get(name) in parts]

    def rest(self) -> list[str]:
        """The names of the parameters that are not filled yet, nor left alone."""
        return [name for name in self._parameters if name not in self._record.filled]

    def fill(
        self, weight: Weight | str, rule: str, init: Callable[[Tensor], object], note: str = "", by_group: bool = True
    ) -> None:
        """Fills a weight, or another parameter as a whole, and records by which rule.

        Args:
            weight: The weight; or the name of a parameter, which is filled as one tensor of its own shape.
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
        before = value.clone() if name in self.structure.computed else None
        fill_blocks(value, layout, init if part else lambda w: init(w[0, 0]), pieces, by_group)
        if before is not None:
            owner = self.model.get_submodule(owner_of(name))
            settle(owner)
            parameters = {key: parameter.detach() for key, parameter in self._parameters.items()}
            difference = fit(name, parameters, computed := self.structure.computed[name], self.kept)
            if difference is None:
                value.copy_(before)
                settle(owner)
                return self.leave(name, f"the layer computes its weight from it, and cannot represent {rule}")
            note = "; ".join(filter(None, (note, difference)))
            for magnitude in [key for key in computed.magnitudes if key not in self.kept]:
                self._record.fill(magnitude, "length of the weight", f"of {name}")
        self._record.fill(name, rule, note, part)

    def fill_default(self, weight: Weight, note: str = "") -> None:
        """Fills a weight as torch's convolutions and linear layers do: U(-b, b), b = 1/sqrt(fan-in)."""
        self.fill(weight, "torch default", partial(nn.init.kaiming_uniform_, a=math.sqrt(5), generator=self.generator), note)

    def set(self, name: str, value: Tensor, rule: str, note: str = "") -> None:
        """Copies a value into a parameter and records by which rule."""
        if name in self.kept:
            return self.leave(name, self.kept[name])
        with torch.no_grad():
            self._parameters[name].copy_(value)
        self._record.fill(name, rule, note)

    def leave(self, name: str, reason: str) -> None:
        """Records that a parameter keeps its value, and why."""
        self._record.fill(name, LEFT_ALONE, self.kept.get(name, reason))

    def note(self, name: str, text: str) -> None:
        """Adds to what the report says of a parameter."""
        self._record.note(name, text)

    def branch_places(self) -> dict[Branch, str]:
        """For each residual branch, the module on whose output a multiplier of the whole branch can act.

        Raises:
            UsageError: If a branch has none.
        """
        places = {}
        for branch in self.branches:
            place = branch.output or owner_of(branch.end)
            problem, remedy = "", "wrap the branch in a module"
            ends = [name for name in branch.weights if self.structure.parts.get(name) == "branch_end"]
            if sum(other.end == branch.end for other in self.branches) > 1:
                problem, remedy = "several branches end in it", "give each branch a layer of its own"
            elif others := {piece.part for piece in self.structure.slices.get(branch.end, ())} - {"branch_end"}:
                problem = f"other rows of it, of the part {' and '.join(sorted(others))}, lead elsewhere"
                remedy = "give these rows a layer of their own"
            elif not (self.can_act_on(place) if branch.output else self.can_act_at(branch.end) and not branch.end_norm):
                problem = "no module returns what its branch adds, as one tensor and in one call"
            elif branch.output is None and len(ends) > 1:
                problem = f"the branch ends in '{ends[0]}' as well"
            if problem:
                raise UsageError(
                    f"initializer '{self.method}' needs a multiplier for each residual branch, and none can be attached "
                    f"after the branch_end '{branch.end}': {problem}; {remedy}, or use 'idinit'"
                )
            places[branch] = place
        return places

    def can_act_at(self, weight: str) -> bool:
        """Whether hooks on the module of a weight act on what the weight reads and makes, and on nothing else."""
        is_alone = self.structure.alone is None or weight in self.structure.alone
        return is_alone and self.can_act_on(owner_of(weight))

    def can_act_on(self, module: str) -> bool:
        """Whether a forward hook can act on what a module returns."""
        return self.structure.hookable is None or module in self.structure.hookable

    def add_scalar(
        self,
        kind: Kind,
        value: float,
        weight: str,
        *,
        at: str | None = None,
        also: str | None = None,
        lr_scale: float = 1.0,
        learnable: bool = True,
    ) -> None:
        """Adds a scalar to the network; one that is there already stays, as that of a weight which several branches share.

        Args:
            kind: What it does there.
            value: Its initial value.
            weight: Name of the weight whose module keeps it.
            at: Dotted name of the module it acts on; None for the module of ``weight``.
            also: Dotted name of a second module it acts on, with the same number.
            lr_scale: Factor on its learning rate.
            learnable: Whether it is a parameter; else a buffer.
        """
        owner = owner_of(weight)
        get = self.model.get_submodule
        name = ".".join(filter(None, (owner, scalar_name(get(owner), kind), "value")))
        if name in self._record.added:
            return
        places = [owner if at is None else at] + ([] if also is None else [also])
        attach_scalar(Scalar(kind, value, lr_scale, learnable), get(owner), *(get(place) for place in places))
        notes = ["added" if places == [owner] else f"added, acts on {' and '.join(places)}"]
        notes += [f"lr x {lr_scale:g}"] * (lr_scale != 1) + ["a constant"] * (not learnable)
        part = "scale" if kind == "output_scale" else "bias"
        self._record.added[name] = Row(name, (1,), part, f"{value:.4g}", ", ".join(notes))

    def rows(self) -> list[Row]:
        """A row for every parameter, those of the network first, added scalars last."""
        return self._record.rows(self._parameters, self.structure)
