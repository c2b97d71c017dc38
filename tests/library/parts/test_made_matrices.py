"""Matrices that the network makes: what makes them is a gate, and what they are multiplied with flows on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from networks import weights
from torch import Tensor, nn
from torch.nn import functional as F

from idinit import initialize_
from idinit.parts import find_structure


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


class Hyper(nn.Module):
    """A layer whose matrix another network makes of a condition (Ha et al. 2017)."""

    def __init__(self, apply: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.apply_, self.stem, self.head = apply, nn.Linear(5, 8), nn.Linear(8, 3)
        self.condition, self.matrix = nn.Linear(4, 16), nn.Linear(16, 64)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        matrix = self.matrix(self.condition(condition).relu()).view(-1, 8, 8)
        return self.head(self.apply_(matrix, self.stem(x)).relu())


PRODUCTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "bmm": lambda w, x: torch.bmm(x[:, None], w)[:, 0],
    "matmul": lambda w, x: (w @ x[..., None])[..., 0],
    "einsum": lambda w, x: torch.einsum("bi,bio->bo", x, w),
    "sum of a product": lambda w, x: (w * x[:, None]).sum(-1),
    "linear": lambda w, x: F.linear(x, w[0]),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_hypernetworks(name: str) -> None:
    structure = find_structure(Hyper(PRODUCTS[name]), (_random(3, 5), _random(3, 4)))
    expected = {"stem.weight": "stem", "matrix.weight": "gate", "condition.weight": "stem", "head.weight": "head"}
    assert weights(structure) == expected and not structure.branches


class PointNet(nn.Module):
    """Points that a small network rotates (Qi et al. 2017), [N, 3, points] -> [N, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.point, self.rest, self.rotation = nn.Conv1d(3, 16, 1), nn.Linear(16, 16), nn.Linear(16, 9)
        self.stem, self.conv, self.head = nn.Conv1d(3, 16, 1), nn.Conv1d(16, 32, 1), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        rotation = self.rotation(self.rest(self.point(x).relu().amax(-1)).relu()) + torch.eye(3).flatten()
        x = torch.bmm(x.transpose(1, 2), rotation.view(-1, 3, 3)).transpose(1, 2)
        return self.head(self.conv(self.stem(x).relu()).relu().amax(-1))


def test_point_net() -> None:
    structure = find_structure(PointNet(), (_random(2, 3, 20),))
    assert weights(structure) == {
        "point.weight": "gate", "rest.weight": "gate", "rotation.weight": "gate", "stem.weight": "stem",
        "conv.weight": "trunk", "head.weight": "head",
    }  # fmt: skip


class Involution(nn.Module):
    """Kernels of each place, made of what is there (Li et al. 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.kernel, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 9, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        n, c, h, w = x.shape
        kernel = self.kernel(x).view(n, 1, 9, h, w)
        return self.head((F.unfold(x, 3, padding=1).view(n, c, 9, h, w) * kernel).sum(2))


def test_involution() -> None:
    structure = find_structure(Involution(), (_random(2, 3, 8, 8),))
    assert weights(structure) == {"stem.weight": "stem", "kernel.weight": "gate", "head.weight": "head"}


class LinearAttention(nn.Module):
    """Attention without a softmax (Katharopoulos et al. 2020), whose products are those of features and positions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.qkv, self.head = nn.Linear(5, 16), nn.Linear(16, 48), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.stem(x)).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)
        return self.head((q.relu() @ (k.relu().mT @ v)).transpose(1, 2).flatten(2))


def test_features_are_no_matrices() -> None:
    structure = find_structure(LinearAttention(), (_random(2, 6, 5),))
    assert weights(structure) == {"stem.weight": "stem", "qkv.weight": "trunk", "head.weight": "head"}


class Tasks(nn.Module):
    """Layers that a network makes of learned descriptions of them (Ha et al. 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks, self.hidden, self.matrix = nn.Parameter(torch.zeros(2, 8)), nn.Linear(8, 32), nn.Linear(32, 64 * 48)
        self.stem, self.head = nn.Linear(5, 48), nn.Linear(64, 2)

    def made(self) -> Tensor:
        return self.matrix(self.hidden(self.tasks).relu()).view(2, 64, 48)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.linear(self.stem(x).relu(), self.made()[0]).relu())


class Kernels(nn.Module):
    """A convolution whose kernel is made of a condition."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head, self.condition, self.matrix = (
            nn.Conv2d(3, 8, 3), nn.Conv2d(16, 2, 1), nn.Linear(4, 16), nn.Linear(16, 16 * 8 * 9),
        )  # fmt: skip

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        kernel = self.matrix(self.condition(condition).relu()).view(16, 8, 3, 3)
        return self.head(F.conv2d(self.stem(x).relu(), kernel).relu())


MAKERS: dict[str, tuple[Callable[[], nn.Module], tuple[Tensor, ...], int, int]] = {
    **{name: (lambda apply=apply: Hyper(apply), (_random(3, 5), _random(3, 4)), 16, 8) for name, apply in PRODUCTS.items()},
    "of learned descriptions": (Tasks, (_random(3, 5),), 32, 48),
    "kernel": (Kernels, (_random(2, 3, 8, 8), _random(1, 4)[0]), 16, 72),
}


@pytest.mark.parametrize("method", ["kaiming", "xavier", "orthogonal", "idinit", "zero", "sinusoidal"])
@pytest.mark.parametrize("name", MAKERS)
def test_a_map_that_makes_matrices_is_filled_for_their_sake(name: str, method: str) -> None:
    build, inputs, fan_in, fan_of_matrix = MAKERS[name]
    model = build()
    initialize_(model, method, inputs)
    expected = (fan_in * fan_of_matrix) ** -0.5  # hyperfan-in (Chang et al. 2020)
    assert 0.85 * expected < model.matrix.weight.std() < 1.15 * expected
    assert not model.matrix.bias.any()


def test_what_describes_layers_has_the_size_of_an_input() -> None:
    model = Tasks()
    initialize_(model, "kaiming", (_random(3, 5),), seed=0)
    assert 0.6 < model.tasks.std() < 1.4
    assert 0.1 < model.made().std() * 48**0.5 < 2
