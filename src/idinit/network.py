"""What an initializer gets: a network as a list of weights with their parts, and the means to fill them.

Methods work on parts and never on model classes. A method says only what is special about it: norms, biases and
whatever it does not mention get the shared rules of `Network.finish`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from .errors import UsageError
from .parts import Branch, Structure
from .scalars import Kind, Scalar, attach_scalar

MAPS = ("stem", "trunk", "branch", "branch_end", "shortcut", "gate", "query", "key", "value", "head")
LEFT_ALONE = "left alone"


@dataclass(frozen=True)
class Weight:
    """A linear map: a convolution or a matrix.

    Attributes:
        name: Name of the parameter.
        part: What it does in the network.
        shape: Shape of one block, (out, in, *kernel). A grouped convolution is that many small ones side by side, a
            packed matrix holds several (query, key and value); each block is filled on its own.
        branch: The residual branch it belongs to, if any.
    """

    name: str
    part: str
    shape: torch.Size
    branch: Branch | None


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
        kept: Names of the parameters that nothing may change.
    """

    def __init__(
        self, model: nn.Module, structure: Structure, generator: Generator, kept: frozenset[str] = frozenset()
    ) -> None:
        self.model = model
        self.structure = structure
        self.generator = generator
        self.kept = kept
        self._parameters = dict(model.named_parameters())
        self._rows: dict[str, Row] = {}
        self._branch_of = {name: branch for branch in structure.branches for name in branch.weights}

    @property
    def branches(self) -> tuple[Branch, ...]:
        """The residual branches; their number is the L of Fixup and SkipInit."""
        return self.structure.branches

    def weights(self, *parts: str) -> list[Weight]:
        """The linear maps of the given parts, or all of them, in the order of the network's parameters."""
        return [
            Weight(name, self.structure.parts[name], self._blocks(name)[0].shape, self._branch_of.get(name))
            for name in self.names(*(parts or MAPS))
            if self._parameters[name].ndim >= 2
        ]

    def names(self, *parts: str) -> list[str]:
        """The names of the parameters of the given parts, or of all, in the order of the network's parameters."""
        return [name for name in self._parameters if not parts or self.structure.parts.get(name) in parts]

    def fill(self, name: str, rule: str, init: Callable[[Tensor], object], note: str = "") -> None:
        """Fills a parameter and records by which rule.

        Args:
            name: Name of the parameter.
            rule: What the report says.
            init: Fills a tensor [out, in, *kernel] in place. It gets contiguous CPU memory in float32 or better, so the
                same seed gives the same bytes whatever the parameter's device, dtype and memory format are.
            note: What else the report says.
        """
        if name in self.kept:
            return self.leave(name, "kept, as asked")
        with torch.no_grad():
            for block in self._blocks(name):
                dtype = torch.promote_types(block.dtype, torch.float32)
                if block.is_contiguous() and block.is_cpu and block.dtype == dtype:
                    init(block)
                else:
                    scratch = torch.empty(block.shape, dtype=dtype)
                    init(scratch)
                    block.copy_(scratch)
        self._record(name, rule, note)

    def fill_default(self, name: str, note: str = "") -> None:
        """Fills a weight as torch's convolutions and linear layers do: U(-b, b), b = 1/sqrt(fan-in)."""
        self.fill(name, "torch default", lambda w: _torch_default_(w, self.generator), note)

    def set(self, name: str, value: Tensor, rule: str, note: str = "") -> None:
        """Copies a value into a parameter and records by which rule."""
        if name in self.kept:
            return self.leave(name, "kept, as asked")
        with torch.no_grad():
            self._parameters[name].copy_(value)
        self._record(name, rule, note)

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
        owner = _owner(weight)
        name = ".".join(filter(None, (owner, kind, "value")))
        if name in self._rows:
            raise UsageError(
                f"'{weight}' is used by several branches and cannot have a scalar of its own for each: use init=idinit"
            )
        places = [owner if at is None else at] + ([] if also is None else [also])
        get = self.model.get_submodule
        attach_scalar(Scalar(kind, value, lr_scale), get(owner), *(get(place) for place in places))
        note = "added" if places == [owner] else f"added, acts on {' and '.join(places)}"
        part = "scale" if kind == "output_scale" else "bias"
        self._rows[name] = Row(name, (1,), part, f"{value:.4g}", note + (f", lr x {lr_scale:g}" if lr_scale != 1 else ""))

    def finish(self, method: str) -> list[Row]:
        """Applies the shared rules to what the method did not mention.

        Norms become the identity (scale 1, shift 0, running statistics as new), biases 0, the rest is left alone.

        Returns:
            A row for every parameter, those of the network first, added scalars last.
        """
        for name in self._parameters.keys() - self._rows.keys():
            part = self.structure.parts.get(name)
            if part == "bias" or (part == "norm" and name.rpartition(".")[2] in ("bias", "beta", "shift")):
                self.fill(name, "0", nn.init.zeros_)
            elif part == "norm":
                self.fill(name, "1", nn.init.ones_)
            elif part is None:
                self.leave(name, self.structure.unknown.get(name, "its part is not known"))
            else:
                self.leave(name, f"{method} has no rule for the part '{part}'")
        for module in self.model.modules():
            if callable(reset := getattr(module, "reset_running_stats", None)):
                reset()
        own = [self._rows[name] for name in self._parameters]
        return own + [row for name, row in self._rows.items() if name not in self._parameters]

    def _record(self, name: str, rule: str, note: str) -> None:
        others = ", ".join(self.structure.shared.get(name, ()))
        note = "; ".join(filter(None, (note, f"shared with {others}" if others else "")))
        part = self.structure.parts.get(name, "unknown")
        self._rows[name] = Row(name, tuple(self._parameters[name].shape), part, rule, note)

    def _blocks(self, name: str) -> tuple[Tensor, ...]:
        """Views of a parameter as [out, in, *kernel], one for each slice, or each group of a convolution."""
        value, module = self._parameters[name].detach(), self.model.get_submodule(_owner(name))
        if value.ndim < 3:
            slices = self.structure.slices.get(name, ())
            return tuple(value.narrow(s.dim, s.start, s.stop - s.start) for s in slices) or (value,)
        blocks = value.chunk(getattr(module, "groups", 1))
        # Transposed convolutions are stored as [in, out, *kernel].
        return tuple(b.transpose(0, 1) for b in blocks) if getattr(module, "transposed", False) else blocks


def _owner(name: str) -> str:
    """Dotted name of the module that uses a parameter; a parametrized one is stored in a list below that module."""
    return name.rpartition(".")[0].partition(".parametrizations.")[0]


def _torch_default_(w: Tensor, generator: Generator) -> Tensor:
    return nn.init.kaiming_uniform_(w, a=math.sqrt(5), generator=generator)
