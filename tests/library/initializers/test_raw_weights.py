"""Weights that are parameters of a block itself: no module of their own returns what they make."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import idinit


class Raw(nn.Module):
    """A residual block written with matrices, as in code ported from JAX."""

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(size, 4 * size) / size**0.5)
        self.last = nn.Parameter(torch.randn(4 * size, size) / (4 * size) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.gelu(x @ self.first) @ self.last


class Functional(nn.Module):
    """The same with convolutions of one tap."""

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(size, size, 1))
        self.last = nn.Parameter(torch.randn(size, size, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + F.conv1d(F.relu(F.conv1d(x[..., None], self.first)), self.last)[..., 0]


class Bottleneck(nn.Module):
    """A layer, and beside it two others that belong to no module of their own."""

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.base = nn.Linear(size, size)
        self.down = nn.Parameter(torch.randn(2, size))
        self.up = nn.Parameter(torch.randn(size, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + 2 * (F.relu(x @ self.down.T) @ self.up.T)


class Wrapped(nn.Module):
    """A matrix in a module that does nothing else."""

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(size, size))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


class Outside(nn.Module):
    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.first, self.last = Wrapped(size), Wrapped(size)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.tanh(self.last(F.relu(self.first(x))))


def network(block: type[nn.Module]) -> tuple[nn.Sequential, Tensor]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), block(), block(), nn.Linear(8, 2)), torch.randn(16, 4)


@pytest.mark.parametrize("name", ["rezero", "skipinit", "deepnorm"])
@pytest.mark.parametrize("block", [Raw, Functional, Bottleneck])
def test_a_multiplier_that_would_act_on_the_shortcut_as_well_is_refused(block: type[nn.Module], name: str) -> None:
    model, x = network(block)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(idinit.UsageError):
        idinit.initialize_(model, name, x)
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("block", [Raw, Functional, Bottleneck])
def test_fixup_adds_scalars_to_modules_of_one_weight_only(block: type[nn.Module]) -> None:
    model, x = network(block)
    report = idinit.initialize_(model, "fixup", x)
    added = {row.parameter for row in report.rows if row.note.startswith("added")}
    assert added and not {name for name in added if name.startswith(("1.scalar", "2.scalar", "1.output", "2.output"))}
    assert not any(type(child).__name__ == "Scalar" for block in model[1:3] for child in block.children())


@pytest.mark.parametrize("name", ["rezero", "skipinit"])
def test_a_module_around_one_matrix_takes_its_multiplier(name: str) -> None:
    model, x = network(Outside)
    idinit.initialize_(model, name, x)
    assert torch.allclose(model[1](model[0](x)), model[0](x))
    assert model[0](x).std() > 0.1
