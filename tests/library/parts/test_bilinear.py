"""Products of what two layers make of one input: one of the factors is the gate, and no method makes them copies."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from idinit.diagnostics.examine import examine
from idinit.initialize import initialize_
from idinit.parts.find import find_parts, find_structure


class Block(nn.Module):
    """A residual block with a bilinear gated linear unit (Shazeer 2020)."""

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.gate, self.value = (nn.Linear(size, 2 * size, bias=False) for _ in range(2))
        self.last = nn.Linear(2 * size, size)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.last(self.gate(x) * self.value(x))


class Packed(nn.Module):
    """The same with both factors in one layer."""

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.both, self.last = nn.Linear(size, 4 * size, bias=False), nn.Linear(2 * size, size)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.both(x).chunk(2, dim=-1)
        return x + self.last(gate * value)


class SimpleGate(nn.Module):
    """NAFNet's (Chen et al. 2022): halves of a depthwise convolution."""

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.inner, self.last = nn.Conv1d(size, 2 * size, 1), nn.Conv1d(size, size, 1)
        self.both = nn.Conv1d(2 * size, 2 * size, 3, padding=1, groups=2 * size)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.both(self.inner(x[..., None])).chunk(2, dim=1)
        return x + self.last(gate * value)[..., 0]


def network(block: type[nn.Module]) -> tuple[nn.Sequential, Tensor]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), block(), block(), nn.Linear(8, 2)), torch.randn(32, 4)


def test_the_first_of_two_layers_is_the_gate() -> None:
    parts = find_parts(*network(Block))
    assert [parts[f"1.{name}.weight"] for name in ("gate", "value", "last")] == ["gate", "branch", "branch_end"]


@pytest.mark.parametrize(("block", "half"), [(Packed, 16), (SimpleGate, 8)])
def test_the_first_half_of_a_layer_is_the_gate(block: type[nn.Module], half: int) -> None:
    slices = find_structure(*network(block)).slices["1.both.weight"]
    assert [(piece.part, piece.start, piece.stop) for piece in slices] == [("gate", 0, half), ("branch", half, 2 * half)]


@pytest.mark.parametrize("name", ["idinit", "zero"])
@pytest.mark.parametrize("block", [Block, Packed])
def test_the_factors_are_no_copies(block: type[nn.Module], name: str) -> None:
    model, x = network(block)
    initialize_(model, name, x)
    assert not examine(model, x).findings
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        (model(x) - x[:, :2]).square().mean().backward()
        optimizer.step()
    first, second = (model[1].gate.weight, model[1].value.weight) if block is Block else model[1].both.weight.chunk(2)
    assert (first - second).abs().amax(1).min() > 1e-3


class Towers(nn.Module):
    """The features of two inputs, multiplied."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.item, self.head = nn.Linear(4, 8), nn.Linear(4, 8), nn.Linear(8, 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.head(self.user(user) * self.item(item))


class Score(nn.Module):
    """The products of two layers' outputs, summed up."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 8), nn.Linear(4, 8)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        return (self.left(x) * self.right(x)).sum(dim=-1)


class Square(nn.Module):
    """A product of a value with itself."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        y = self.first(x)
        return self.second((y + 1) * (y + 2))


@pytest.mark.parametrize("model", [Towers(), Score(), Square()], ids=lambda model: type(model).__name__)
def test_other_products_have_no_gate(model: nn.Module) -> None:
    assert "gate" not in find_parts(model, (torch.randn(2, 4), torch.randn(2, 4))).values()
