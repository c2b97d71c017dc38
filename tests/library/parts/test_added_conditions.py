"""Conditions that are projected and added inside a branch, or to a main path without shortcuts, are no shortcuts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from networks import IMAGES, weights
from torch import Tensor, nn
from torch.nn import functional as F

from idinit.initialize import initialize_
from idinit.parts import find_structure

X, T = torch.randn(8, 8), torch.randn(8, 4)


class Conditioned(nn.Module):
    """Three blocks that see a value and the same condition, the latter projected by each."""

    def __init__(self, block: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.stem, self.condition, self.head = nn.Linear(8, 8), nn.Linear(4, 4), nn.Linear(8, 2)
        self.blocks = nn.ModuleList(block() for _ in range(3))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        x, t = self.stem(x), F.silu(self.condition(t))
        for block in self.blocks:
            x = block(x, t)
        return self.head(x)


class Plain(nn.Module):
    """A layer of a small diffusion model: no shortcut, the time step added before the activation."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.project = nn.Linear(8, 8), nn.Linear(4, 8)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return F.relu(self.first(x) + self.project(t))


class Inside(nn.Module):
    """A residual block with the condition in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.project, self.last = nn.Linear(8, 8), nn.Linear(4, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return x + self.last(F.silu(self.first(x) + self.project(t)))


class Gated(nn.Module):
    """The gated residual network of the Temporal Fusion Transformer (Lim et al. 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.project = nn.Linear(8, 8), nn.Linear(4, 8, bias=False)
        self.inner, self.last, self.norm = nn.Linear(8, 8), nn.Linear(8, 16), nn.LayerNorm(8)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        a, b = self.last(self.inner(F.elu(self.first(x) + self.project(t)))).chunk(2, -1)
        return self.norm(x + a * b.sigmoid())


@pytest.mark.parametrize(("block", "end"), [(Inside, "last"), (Gated, "last")])
def test_a_condition_inside_a_branch_makes_no_branch_of_its_own(block: Callable[[], nn.Module], end: str) -> None:
    structure = find_structure(Conditioned(block), (X, T))
    assert [branch.end for branch in structure.branches] == [f"blocks.{i}.{end}.weight" for i in range(3)]
    parts = {tuple(structure.parts[f"blocks.{i}.{name}.weight"] for name in ("first", "project")) for i in range(3)}
    assert len(parts) == 1 and "shortcut" not in next(iter(parts))


@pytest.mark.parametrize("method", ["idinit", "kaiming", "lsuv"])
def test_a_network_without_shortcuts_has_no_branches_however_its_condition_is_added(method: str) -> None:
    model = Conditioned(Plain)
    assert find_structure(model, (X, T)).branches == ()
    initialize_(model, method, (X, T), seed=0)
    with torch.no_grad():
        out = model(X, T[:1].expand(8, -1))  # one condition for all
    assert out.std(0).min() > 0.01


class Separator(nn.Module):
    """Conv-TasNet's blocks (Luo & Mesgarani 2019): one output goes on, one is added up; the last block has only that."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv1d(4, 8, 1), nn.Conv1d(8, 4, 1)
        self.inner = nn.ModuleList(nn.Conv1d(8, 8, 3, padding=1) for _ in range(3))
        self.onward = nn.ModuleList(nn.Conv1d(8, 8, 1) for _ in range(2))
        self.skip = nn.ModuleList(nn.Conv1d(8, 8, 1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x, total = self.stem(x), torch.zeros(())
        for number, (inner, skip) in enumerate(zip(self.inner, self.skip, strict=True)):
            y = F.relu(inner(x))
            if number < 2:
                x = x + self.onward[number](y)
            total = total + skip(y)
        return self.head(F.relu(total))


def test_skips_that_are_added_up_have_one_part() -> None:
    structure = find_structure(Separator(), (torch.randn(2, 4, 6),))
    assert [structure.parts[f"skip.{i}.weight"] for i in range(3)] == ["trunk"] * 3
    assert [branch.end for branch in structure.branches] == ["onward.0.weight", "onward.1.weight"]


class Experts(nn.Module):
    """A mixture whose experts get the tokens that chose them: how many depends on values (as in Mixtral's first code)."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(8, 3, bias=False)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Linear(16, 8)) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        weights, chosen = self.gate(x).softmax(-1).topk(2, -1)
        y = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            token, place = torch.where(chosen == number)
            y = y.index_add(0, token, expert(x[token]) * weights[token, place, None])
        return x + y


def test_experts_whose_number_of_tokens_depends_on_values() -> None:
    model = nn.Sequential(nn.Linear(8, 8), Experts(), nn.Linear(8, 2))
    structure = find_structure(model, (X,))
    assert structure.parts["1.gate.weight"] == "gate"
    assert {structure.parts[f"1.experts.{i}.2.weight"] for i in range(3)} == {"branch_end"}


class Scan(nn.Module):
    """A gated scan over time (minGRU, Feng et al. 2024) whose first state has the shape of a slice of a value."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.value, self.out = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.gate(x).sigmoid(), self.value(x)
        state, states = torch.zeros_like(value[:, 0]), []
        for step in range(x.shape[1]):
            state = (1 - gate[:, step]) * state + gate[:, step] * value[:, step]
            states.append(state)
        return x + self.out(torch.stack(states, 1))


def test_a_zero_of_a_values_shape_is_no_use_of_the_value() -> None:
    structure = find_structure(nn.Sequential(nn.Linear(4, 8), Scan(), nn.Linear(8, 2)), (torch.randn(2, 5, 4),))
    parts = {name: structure.parts[f"1.{name}.weight"] for name in ("gate", "value", "out")}
    assert parts == {"gate": "gate", "value": "branch", "out": "branch_end"}


class Equalized(nn.Module):
    """A layer with an equalized learning rate (Karras et al. 2018): its weight is N(0, 1), and scaled in each pass."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(F.linear(x, self.weight * self.weight.shape[1] ** -0.5), 0.2)


@pytest.mark.parametrize("method", ["kaiming", "orthogonal", "idinit"])
def test_a_constant_factor_of_a_layer_is_made_up_for(method: str) -> None:
    model = nn.Sequential(*(Equalized(32) for _ in range(6)), nn.Linear(32, 4))
    layers = (layer for _ in range(6) for layer in (nn.Linear(32, 32, bias=False), nn.LeakyReLU(0.2)))
    plain = nn.Sequential(*layers, nn.Linear(32, 4))
    x = torch.randn(16, 32)
    for network in (model, plain):
        initialize_(network, method, (x,), seed=0)
    for number in range(6):
        assert torch.allclose(model[number].weight * 32**-0.5, plain[2 * number].weight, atol=1e-6)


class SelfModulated(nn.Module):
    """Blocks that scale and shift their features by what they make of these features' means, in one piece or in two."""

    def __init__(self, of_input: bool, is_residual: bool, is_packed: bool) -> None:
        super().__init__()
        self.of_input, self.is_residual, self.is_packed = of_input, is_residual, is_packed
        self.stem, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 3)
        self.conv1, self.conv2 = (nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(3)) for _ in range(2))
        self.both = nn.ModuleList(nn.Linear(8, 16) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for conv1, conv2, both in zip(self.conv1, self.conv2, self.both, strict=True):
            y = conv1(x).relu()
            made = both((x if self.of_input else y).mean((2, 3)))
            if self.is_packed:
                scale, shift = (part[:, :, None, None] for part in made.chunk(2, 1))
            else:
                scale, shift = made[:, :, None, None].chunk(2, 1)
            y = conv2((y * scale.sigmoid() + shift).relu())
            x = x + y if self.is_residual else y
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize("is_packed", [True, False])
@pytest.mark.parametrize("is_residual", [True, False])
@pytest.mark.parametrize("of_input", [True, False])
def test_blocks_that_modulate_themselves_are_alike(of_input: bool, is_residual: bool, is_packed: bool) -> None:
    structure = find_structure(SelfModulated(of_input, is_residual, is_packed), (IMAGES,))
    inner, last = ("branch", "branch_end") if is_residual else ("trunk", "trunk")
    blocks = {"conv1": inner, "conv2": last, "both": "gate"}
    assert weights(structure) == {
        "stem.weight": "stem",
        "head.weight": "head",
        **{f"{name}.{i}.weight": part for name, part in blocks.items() for i in range(3)},
    }
    assert structure.slices == {}


class FromConstant(nn.Module):
    """A generator that starts from a learned constant, which styles scale and shift, as in StyleGAN (Karras et al. 2019)."""

    def __init__(self, is_scaled: bool) -> None:
        super().__init__()
        self.is_scaled = is_scaled
        self.constant, self.map = nn.Parameter(torch.randn(1, 8, 4, 4)), nn.Linear(4, 8)
        self.styles = nn.ModuleList(nn.Linear(8, 16) for _ in range(2))
        self.conv, self.head = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 3, 1)

    def forward(self, z: Tensor) -> Tensor:
        w, x = self.map(z).relu(), self.constant.expand(len(z), -1, -1, -1)
        for i, style in enumerate(self.styles):
            scale, shift = style(w)[:, :, None, None].chunk(2, 1)
            x = F.instance_norm(x) if i else x
            x = x * (1 + scale) + shift if self.is_scaled else x + shift
            x = x if i else F.leaky_relu(self.conv(x))
        return self.head(x)


@pytest.mark.parametrize("is_scaled", [True, False])
def test_a_constant_that_is_modulated_is_a_learned_input(is_scaled: bool) -> None:
    parts = weights(find_structure(FromConstant(is_scaled), (torch.randn(2, 4),)))
    assert parts["constant"] == "embedding"
    assert parts["conv.weight"] == "trunk" and parts["head.weight"] == "head"
    assert not is_scaled or parts["styles.0.weight"] == parts["styles.1.weight"] == "gate"
