"""Spiking networks: values flow on through step functions, and not through conditions such as masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from networks import weights
from torch import Tensor, nn
from torch.nn import functional as F

from idinit.parts import find_parts, find_structure


class Surrogate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x > 0).float()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0] / (1 + ctx.saved_tensors[0].abs()) ** 2


def _straight_through(x: Tensor) -> Tensor:
    soft = x.sigmoid()
    return ((x >= 0).float() - soft).detach() + soft


def spike(x: Tensor) -> Tensor:
    return Surrogate.apply(x)  # type: ignore[no-any-return, no-untyped-call]


STEPS: dict[str, Callable[[Tensor], Tensor]] = {
    "comparison": lambda x: (x > 0).float(),
    "surrogate": spike,
    "as another": lambda x: (x < 0.5).type_as(x),
    "times a number": lambda x: (x >= 1) * 2.0,
    "where": lambda x: torch.where(x > 0, 1.0, -1.0),
    "where, tensors": lambda x: torch.where(x > 0, torch.ones_like(x), torch.zeros_like(x)),
    "filled": lambda x: torch.zeros_like(x).masked_fill(x > 0, 1),
    "heaviside": lambda x: torch.heaviside(x, torch.zeros(())),
    "straight-through": _straight_through,
}


class Spiking(nn.Module):
    """Residual blocks of spikes (Fang et al. 2021), with a number of them as the output, or read by a last layer."""

    def __init__(self, step: Callable[[Tensor], Tensor], is_read: bool) -> None:
        super().__init__()
        self.step, self.is_read = step, is_read
        self.stem, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 3)
        self.first = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(2))
        self.second = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.step(self.stem(x))
        for first, second in zip(self.first, self.second, strict=True):
            x = x + self.step(second(self.step(first(x))))
        x = self.head(x.mean((2, 3)))
        return x if self.is_read else self.step(x)


@pytest.mark.parametrize("is_read", [True, False])
@pytest.mark.parametrize("name", STEPS)
def test_values_flow_through_steps(name: str, is_read: bool) -> None:
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    structure = find_structure(Spiking(STEPS[name], is_read), (images,))
    blocks = {f"{name}.{i}.weight": part for i in range(2) for name, part in (("first", "branch"), ("second", "branch_end"))}
    assert weights(structure) == {"stem.weight": "stem", "head.weight": "head", **dict(sorted(blocks.items()))}
    assert [branch.depth for branch in structure.branches] == [2, 2]


class LeakyNeurons(nn.Module):
    """Layers whose outputs are gathered over time until they reach a threshold, which resets them."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList((nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 3)))

    def forward(self, x: Tensor) -> Tensor:
        state, total = [x.new_zeros(x.shape[1], layer.out_features) for layer in self.layers], 0.0
        for y in x:
            for i, layer in enumerate(self.layers):
                state[i] = 0.9 * state[i] + layer(y)
                y = spike(state[i] - 1)
                state[i] = state[i] * (1 - y) if i else state[i] - y.detach()
            total = total + y
        return total


def test_neurons_that_are_reset() -> None:
    series = torch.rand(4, 2, 8, generator=torch.Generator().manual_seed(0))
    assert weights(find_structure(LeakyNeurons(), (series,))) == {
        "layers.0.weight": "stem",
        "layers.1.weight": "trunk",
        "layers.2.weight": "head",
    }


class Conditional(nn.Module):
    """Comparisons that only choose, or that only are put out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.trunk, self.head, self.score = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 3), nn.Linear(16, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        h = self.stem(x)
        h = h * (h > 0)
        h = h * (self.score(h) > 0).float()
        h = self.trunk(torch.where(self.score(h) > 1, h, 0.0))
        logits = self.head(F.relu(h))
        return logits, (logits > 0).float(), (h > 0).float().mean()


def test_conditions_carry_nothing() -> None:
    parts = find_parts(Conditional(), (torch.randn(2, 8, generator=torch.Generator().manual_seed(0)),))
    assert [parts[f"{name}.weight"] for name in ("stem", "trunk", "score", "head")] == ["stem", "trunk", "head", "head"]
