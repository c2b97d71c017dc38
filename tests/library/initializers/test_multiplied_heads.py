"""Heads whose outputs are multiplied with one another are not all zeroed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from idinit import check_zeros, initialize_
from idinit.parts import find_structure

X = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
METHODS: dict[str, dict[str, Any]] = {"fixup": {}, "skipinit": {}, "idinit": {"head": "zero"}}


class Tower(nn.Module):
    """A stem, a residual block, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner, self.last, self.head = nn.Linear(4, 8), nn.Linear(8, 16), nn.Linear(16, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(x + self.last(self.inner(x).relu()))


class Pairs(nn.Module):
    """Two encoders whose outputs are joined."""

    def __init__(self, join: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.join, self.a, self.b = join, Tower(), Tower()

    def forward(self, x: Tensor) -> Any:
        return self.join(self.a(x), self.b(x))


COMPARISONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "matrix product": lambda a, b: a @ b.T,  # DPR (Karpukhin et al. 2020)
    "normalized": lambda a, b: 10 * F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T,  # CLIP (Radford et al. 2021)
    "einsum": lambda a, b: torch.einsum("id,jd->ij", a, b),
    "cosine": lambda a, b: F.cosine_similarity(a, b, dim=-1),
    "sum of products": lambda a, b: (a * b).sum(-1),
    "with itself": lambda a, b: a @ a.T + b.sum(),  # graph autoencoders (Kipf & Welling 2016)
}


@pytest.mark.parametrize("initializer", METHODS)
@pytest.mark.parametrize("name", COMPARISONS)
def test_factors_learn(name: str, initializer: str) -> None:
    model = Pairs(COMPARISONS[name])
    report = initialize_(model, initializer, (X,), **METHODS[initializer])
    (head,) = (row for row in report.rows if row.parameter == "a.head.weight")
    assert model.a.head.weight.any() and "multiplied" in head.note
    assert check_zeros(model, (X,)).violations == ()


OTHERS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "two outputs": lambda a, b: (a, b),
    "sum": lambda a, b: a + b,
    "exponential scale": lambda a, b: a * b.exp(),
    "gate": lambda a, b: a.sigmoid() * b,
}


@pytest.mark.parametrize("initializer", METHODS)
@pytest.mark.parametrize("name", OTHERS)
def test_other_heads_are_zero(name: str, initializer: str) -> None:
    model = Pairs(OTHERS[name])
    initialize_(model, initializer, (X,), **METHODS[initializer])
    structure = find_structure(model, (X,))
    heads = [name for name, part in structure.parts.items() if part == "head"]
    assert heads and not structure.multiplied
    assert not any(model.get_parameter(name).any() for name in heads)
