"""What the tests of parts share: inputs, small networks, and views of a structure."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from idinit.parts import Structure

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
TOKENS = torch.arange(10).reshape(2, 5)
FEATURES = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(1))


def weights(structure: Structure) -> dict[str, str]:
    """The parts without biases and norms, which have tests of their own."""
    return {name: part for name, part in structure.parts.items() if part not in ("bias", "norm")}


def rows(structure: Structure, name: str) -> list[tuple[int, int, int, str]]:
    return [(s.dim, s.start, s.stop, s.part) for s in structure.slices.get(name, ())]


class Residual(nn.Module):
    """x + scale * branch(x), with DropPath."""

    def __init__(self, *branch: nn.Module, shortcut: nn.Module | None = None, scale: nn.Parameter | None = None) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)
        self.shortcut = shortcut or nn.Identity()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        y = self.branch(x)
        if self.scale is not None:
            y = y * self.scale
        if self.training:
            y = y * torch.empty(len(y), *[1] * (y.ndim - 1)).bernoulli_(0.9)
        return self.shortcut(x) + y


class Gate(nn.Module):
    """Squeeze-excite."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, 2, 1)
        self.expand = nn.Conv2d(2, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.expand(F.relu(self.reduce(x.mean((2, 3), keepdim=True)))).sigmoid()


def conv(channels_in: int, channels: int, kernel: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels, kernel, padding=kernel // 2, bias=False, **options)


class Net(nn.Module):
    """A stem, a block, a head."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.stem = conv(3, 8)
        self.block = block
        self.last = nn.LazyLinear(16)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.last(self.block(self.stem(x).relu_()).mean((2, 3))).relu_())
