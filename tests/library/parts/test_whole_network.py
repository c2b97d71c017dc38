"""Skips around a whole network: its parts are those that it has without the skip."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from networks import conv, weights
from torch import Tensor, nn

from idinit.parts import find_structure

IMAGE = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


class Restoration(nn.Module):
    """A stem, residual blocks or plain layers, an output layer; and a sum with the image."""

    def __init__(self, finish: Callable[[Tensor, Tensor], Any], blocks: int = 0, is_coarser: bool = False) -> None:
        super().__init__()
        self.finish, self.stem, self.last = finish, conv(1, 8), conv(8, 1)
        self.body = nn.ModuleList(nn.Sequential(conv(8, 8), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 8)) for _ in range(blocks))
        self.plain = nn.Identity() if blocks else conv(8, 8)
        self.down, self.up = (
            (nn.Conv2d(8, 16, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)) if is_coarser else (nn.Identity(), nn.Identity())
        )

    def forward(self, x: Tensor) -> Any:
        y = self.plain(self.stem(x)).relu()
        for block in self.body:
            y = y + block(y)
        return self.finish(x, self.last(self.up(self.down(y))))


FINISHES: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "x + net(x)": lambda x, y: x + y,  # VDSR (Kim et al. 2016)
    "x - net(x)": lambda x, y: x - y,  # DnCNN (Zhang et al. 2017)
    "bounded": lambda x, y: (x + y).clamp(0, 1),
    "tanh": lambda x, y: (y + x).tanh(),
    "scaled": lambda x, y: 0.5 * x + 0.2 * y,  # the preconditioning of Karras et al. 2022
    "both": lambda x, y: (x - y, y),
}


@pytest.mark.parametrize("blocks, is_coarser", [(0, False), (2, False), (0, True)])
@pytest.mark.parametrize("name", FINISHES)
def test_a_skip_around_the_network_changes_no_part(name: str, blocks: int, is_coarser: bool) -> None:
    found = find_structure(Restoration(FINISHES[name], blocks, is_coarser), (IMAGE,))
    without = find_structure(Restoration(lambda _, y: y, blocks, is_coarser), (IMAGE,))
    assert weights(found) == weights(without)
    assert (found.parts["stem.weight"], found.parts["last.weight"]) == ("stem", "head")
    assert len(found.branches) == blocks


class Block(nn.Module):
    """A residual block, initialized alone."""

    def __init__(self, width: int, norm: nn.Module) -> None:
        super().__init__()
        self.norm, self.widen, self.narrow = norm, nn.Linear(8, width), nn.Linear(width, 8)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.narrow(self.widen(self.norm(x)).relu())


@pytest.mark.parametrize("width, norm", [(8, nn.Identity()), (32, nn.Identity()), (32, nn.LayerNorm(8))])
def test_a_block_alone_is_a_branch(width: int, norm: nn.Module) -> None:
    structure = find_structure(Block(width, norm), (IMAGE,))
    assert weights(structure) == {"widen.weight": "branch", "narrow.weight": "branch_end"}
