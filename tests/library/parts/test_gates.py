"""Gates that one map makes side by side with the value they are multiplied with, however a network writes that."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from networks import FEATURES, rows, weights
from torch import Tensor, nn
from torch.nn import functional as F

from idinit.parts import find_structure


def _clamped(y: Tensor) -> Tensor:
    a, b = y[..., :16].clamp(max=7), y[..., 16:32].clamp(-7, 7)
    return (b + 1) * (a * torch.sigmoid(1.702 * a))


def _clamped_by_tensors(y: Tensor) -> Tensor:
    a, b, bound = y[..., :16], y[..., 16:32], y.new_full((), 7.0)
    return b.clamp(-bound, bound) * torch.sigmoid(a)


def _twice(y: Tensor) -> Tensor:
    a, b, c = y.split(16, -1)
    return a * b.sigmoid() * c.sigmoid()


def _blended(y: Tensor) -> Tensor:
    a, b, c = y.chunk(3, -1)
    return b.sigmoid() * a.tanh() + (1 - b.sigmoid()) * c


UNITS: dict[str, tuple[Callable[[Tensor], Tensor], list[int]]] = {
    "glu": (lambda y: F.glu(y[..., :32], -1), [1]),
    "nn.GLU": (lambda y: nn.GLU(2)(y[..., :32]), [1]),
    "SwiGLU": (lambda y: F.silu(y[..., :16]) * y[..., 16:32], [0]),
    "GEGLU": (lambda y: y[..., :16] * F.gelu(y[..., 16:32]), [1]),
    "GELU by hand": (lambda y: 0.5 * y[..., :16] * (1 + (y[..., :16] * 0.8).tanh()) * y[..., 16:32], [0]),
    "of gpt-oss": (_clamped, [0]),
    "bounds that are tensors": (_clamped_by_tensors, [0]),
    "two gates": (_twice, [1, 2]),
    "one gate for two values": (_blended, [1]),
}


class Gated(nn.Module):
    """A map of three blocks of 16 rows, of which some are gates; a second map may be added to what it makes."""

    def __init__(self, unit: Callable[[Tensor], Tensor], is_conditioned: bool = False) -> None:
        super().__init__()
        self.unit, self.is_conditioned = unit, is_conditioned
        self.stem, self.packed, self.condition = nn.Linear(16, 16), nn.Linear(16, 48), nn.Linear(16, 48)
        self.last, self.head = nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.packed(x)
        if self.is_conditioned:
            y = y + self.condition(x.flip(1))
        return self.head(self.last(self.unit(y)))


@pytest.mark.parametrize("is_conditioned", [False, True])
@pytest.mark.parametrize("name", UNITS)
def test_rows_of_gates(name: str, is_conditioned: bool) -> None:
    unit, gates = UNITS[name]
    structure = find_structure(Gated(unit, is_conditioned), (FEATURES,))
    for map_ in ("packed", "condition") if is_conditioned else ("packed",):
        found = {(row, part) for _, start, stop, part in rows(structure, f"{map_}.weight") for row in range(start, stop)}
        assert found == {(row, "gate" if row // 16 in gates else "trunk") for row in range(48)}
    assert structure.parts["last.weight"] == "trunk"


class Step(nn.Module):
    """One step of an LSTM, whose state comes from outside."""

    def __init__(self, is_joint: bool) -> None:
        super().__init__()
        self.x, self.h, self.head = nn.Linear(4 + 8 * is_joint, 32), nn.Linear(8, 32), nn.Linear(8, 2)
        self.is_joint = is_joint

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        y = self.x(torch.cat([x, h], -1)) if self.is_joint else self.x(x) + self.h(h)
        i, f, g, o = y.chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return self.head(o.sigmoid() * c.tanh()), c


@pytest.mark.parametrize("is_joint", [False, True])
def test_one_step_of_a_cell(is_joint: bool) -> None:
    structure = find_structure(Step(is_joint), (torch.randn(3, 4), torch.randn(3, 8), torch.randn(3, 8)))
    for name in ("x.weight",) if is_joint else ("x.weight", "h.weight"):
        assert rows(structure, name) == [(0, 0, 16, "gate"), (0, 16, 24, "stem"), (0, 24, 32, "gate")]


def test_two_gates_in_a_residual_branch() -> None:
    """The simple recurrent unit without its recurrence (Lei et al. 2018): both gates are made with the value."""

    class Unit(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.packed, self.head = nn.Linear(16, 16), nn.Linear(16, 48), nn.Linear(16, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            a, f, r = self.packed(x).chunk(3, -1)
            return self.head(r.sigmoid() * (f.sigmoid() * a).tanh() + (1 - r.sigmoid()) * x)

    structure = find_structure(Unit(), (FEATURES,))
    assert rows(structure, "packed.weight") == [(0, 0, 16, "branch_end"), (0, 16, 48, "gate")]


class Crosses(nn.Module):
    """Cross layers (Wang et al. 2021), each of which multiplies the first features with what it makes of the last ones."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.cross, self.head = nn.Linear(16, 8), nn.ModuleList(nn.Linear(8, 8) for _ in range(3)), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        first = x = self.stem(x)
        for cross in self.cross:
            x = first * cross(x) + x
        return self.head(x)


def test_cross_layers_are_alike() -> None:
    parts = find_structure(Crosses(), (FEATURES,)).parts
    assert [parts[f"cross.{i}.weight"] for i in range(3)] == ["gate"] * 3


class GateOfGates(nn.Module):
    """A gate that layers with a gate of their own make."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first, self.packed = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 32)
        self.last, self.head = nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        a, b = self.packed(self.first(x).relu()).chunk(2, -1)
        return self.head(x * self.last(a * b.sigmoid()).sigmoid())


def test_what_makes_a_gate_is_one_also_before_a_gate_inside() -> None:
    parts = weights(find_structure(GateOfGates(), FEATURES))
    assert parts == {
        "stem.weight": "stem", "first.weight": "gate", "packed.weight": "gate", "last.weight": "gate", "head.weight": "head",
    }  # fmt: skip


class StateSpace(nn.Module):
    """Mamba-2 (Dao & Gu 2024): one layer makes gate, value, matrices and step sizes, some of which are convolved first."""

    def __init__(self, is_transposed: bool) -> None:
        super().__init__()
        self.is_transposed = is_transposed
        self.packed, self.last = nn.Linear(16, 52), nn.Linear(16, 16)
        self.conv = nn.Conv1d(32, 32, 4, groups=32, padding=3)
        self.decay, self.skip = nn.Parameter(torch.rand(4)), nn.Parameter(torch.ones(4, 1))

    def forward(self, x: Tensor) -> Tensor:
        y, length = self.packed(x), x.shape[1]
        if self.is_transposed:
            z, y, dt = (part.transpose(1, 2) for part in y.transpose(1, 2).split([16, 32, 4], 1))
        else:
            z, y, dt = y.split([16, 32, 4], -1)
        y = F.silu(self.conv(y.transpose(1, 2))[..., :length].transpose(1, 2))
        value, before, after = y.split([16, 8, 8], -1)
        value, dt = value.unflatten(-1, (4, 4)), F.softplus(dt)
        state, read = torch.zeros(len(x), 4, 4, 8), []
        for t in range(length):
            new = (dt[:, t, :, None] * before[:, t, None])[:, :, None] * value[:, t, :, :, None]
            state = state * torch.exp(-dt[:, t] * self.decay)[..., None, None] + new
            read.append(torch.einsum("bhpn,bn->bhp", state, after[:, t]))
        value = torch.stack(read, 1) + self.skip * value
        return x + self.last(value.flatten(2) * F.silu(z))


@pytest.mark.parametrize("is_transposed", [False, True])
def test_rows_before_a_depthwise_convolution(is_transposed: bool) -> None:
    blocks = [StateSpace(is_transposed) for _ in range(2)]
    structure = find_structure(nn.Sequential(nn.Linear(16, 16), *blocks, nn.Linear(16, 3)), (FEATURES,))
    for i in (1, 2):
        assert rows(structure, f"{i}.packed.weight") == [(0, 0, 16, "gate"), (0, 16, 48, "branch"), (0, 48, 52, "gate")]
        assert structure.parts[f"{i}.conv.weight"] == "branch" and structure.parts[f"{i}.last.weight"] == "branch_end"
    assert [branch.weights for branch in structure.branches] == [
        tuple(f"{i}.{name}.weight" for name in ("packed", "conv", "last")) for i in (1, 2)
    ]


class ShortConvolution(nn.Module):
    """A packed layer and a short convolution of each channel, whose pieces are multiplied, as in Hyena (Poli et al. 2023)."""

    def __init__(self, is_bounded: bool) -> None:
        super().__init__()
        self.is_bounded = is_bounded
        self.packed, self.last = nn.Linear(16, 48), nn.Linear(16, 16)
        self.short = nn.Conv1d(48, 48, 3, groups=48, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        a, b, value = self.short(self.packed(x).transpose(1, 2))[..., : x.shape[1]].chunk(3, 1)
        value = value * (b.sigmoid() if self.is_bounded else b)
        value = value.cumsum(-1) * (a.sigmoid() if self.is_bounded else 1)
        return x + self.last(value.transpose(1, 2))


@pytest.mark.parametrize("is_bounded", [False, True])
def test_pieces_of_a_depthwise_convolution(is_bounded: bool) -> None:
    model = nn.Sequential(nn.Linear(16, 16), ShortConvolution(is_bounded), nn.Linear(16, 3))
    structure = find_structure(model, (FEATURES,))
    gates = [(0, 0, 32, "gate"), (0, 32, 48, "branch")] if is_bounded else [(0, 0, 32, "branch"), (0, 32, 48, "gate")]
    assert rows(structure, "1.packed.weight") == rows(structure, "1.short.weight") == gates
    assert structure.bilinear == (frozenset() if is_bounded else {"1.packed.weight", "1.short.weight"})
