"""Residual sums: which side is a branch, where it ends, and what the shortcut is."""

from __future__ import annotations

import copy

import pytest
import torch
from networks import FEATURES, IMAGES, Gate, Net, Residual, conv, weights
from torch import Tensor, nn
from torch.nn import functional as F

from idinit.parts import Branch, find_structure


class Dense(nn.Module):
    """Concatenates its input and a convolution of it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(x)], 1)


BLOCKS = [
    pytest.param(
        Residual(conv(8, 16, 1), nn.SiLU(), conv(16, 16, groups=16), Gate(16), conv(16, 8, 1), nn.BatchNorm2d(8)),
        {
            "branch.0.weight": "branch",
            "branch.2.weight": "branch",
            "branch.3.reduce.weight": "gate",
            "branch.3.expand.weight": "gate",
            "branch.4.weight": "branch_end",
        },
        [Branch(("branch.0.weight", "branch.2.weight", "branch.4.weight"), "branch", None, "branch.5")],
        id="inverted-bottleneck",
    ),
    pytest.param(
        Residual(conv(8, 8, groups=2), nn.BatchNorm2d(8), Gate(8)),
        {"branch.0.weight": "branch_end", "branch.2.reduce.weight": "gate", "branch.2.expand.weight": "gate"},
        [Branch(("branch.0.weight",), "branch", None, "branch.1")],
        id="gate-is-no-end",
    ),
    pytest.param(
        Residual(conv(8, 8), nn.GELU(), conv(8, 8, 1), scale=nn.Parameter(torch.ones(8, 1, 1))),
        {"scale": "scale", "branch.0.weight": "branch", "branch.2.weight": "branch_end"},
        [Branch(("branch.0.weight", "branch.2.weight"), None, scales=("scale",))],
        id="layer-scale",
    ),
    pytest.param(
        Residual(conv(8, 12), nn.ReLU(), conv(12, 12), nn.ReLU(), shortcut=nn.Sequential(conv(8, 12, 1), nn.BatchNorm2d(12))),
        {"branch.0.weight": "branch", "branch.2.weight": "branch_end", "shortcut.0.weight": "shortcut"},
        [Branch(("branch.0.weight", "branch.2.weight"), "branch", "shortcut")],
        id="projection",
    ),
    pytest.param(
        nn.Sequential(Residual(Residual(conv(8, 8), nn.ReLU(), conv(8, 8)), conv(8, 8)), nn.BatchNorm2d(8)),
        {"0.branch.0.branch.0.weight": "branch", "0.branch.0.branch.2.weight": "branch_end", "0.branch.1.weight": "branch_end"},
        [
            Branch(("0.branch.0.branch.0.weight", "0.branch.0.branch.2.weight"), "0.branch.0.branch"),
            Branch(("0.branch.1.weight",), "0.branch", sum_norm="1"),
        ],
        id="nested",
    ),
    pytest.param(
        nn.Sequential(Dense(8), Dense(12), conv(16, 8, 1)),
        {"0.conv.weight": "trunk", "1.conv.weight": "trunk", "2.weight": "trunk"},
        [],
        id="concatenation",
    ),
]


def inside(name: str | None) -> str | None:
    return name and f"block.{name}"


@pytest.mark.parametrize(("block", "parts", "branches"), BLOCKS)
@pytest.mark.parametrize("training", [False, True])
def test_blocks(block: nn.Module, parts: dict[str, str], branches: list[Branch], training: bool) -> None:
    net = Net(copy.deepcopy(block)).train(training)
    net(IMAGES)  # materializes the lazy layer
    structure = find_structure(net, (IMAGES,))
    expected = {f"block.{name}": part for name, part in parts.items()}
    assert weights(structure) == {"stem.weight": "stem", **expected, "last.weight": "trunk", "head.weight": "head"}
    assert list(structure.branches) == [
        Branch(
            tuple(f"block.{w}" for w in b.weights),
            inside(b.output),
            inside(b.shortcut),
            inside(b.end_norm),
            tuple(f"block.{w}" for w in b.scales),
            inside(b.sum_norm),
        )
        for b in branches
    ]


class Sums(nn.Module):
    """Two branches beside one identity, added in one expression."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(16)
        self.a = nn.Linear(16, 16)
        self.b1, self.b2 = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        return x + F.dropout(self.a(y), 0.1, self.training) + self.b2(self.b1(y).relu())


def test_parallel_branches_are_two() -> None:
    structure = find_structure(Sums(), (FEATURES,))
    assert [b.weights for b in structure.branches] == [("a.weight",), ("b1.weight", "b2.weight")]
    assert [b.shortcut for b in structure.branches] == [None, None]
    assert weights(structure) == {
        "a.weight": "branch_end",
        "b1.weight": "branch",
        "b2.weight": "branch_end",
    }


class Fusion(nn.Module):
    """Two equal projections, added: neither bypasses the other."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b, self.head = (nn.Linear(16, 16) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(self.a(x) + self.b(x).tanh())


def test_a_sum_of_equals_is_no_residual_sum() -> None:
    structure = find_structure(Fusion(), (FEATURES,))
    assert structure.branches == ()
    assert weights(structure) == {"stem.weight": "stem", "a.weight": "trunk", "b.weight": "trunk", "head.weight": "head"}


class Exchange(nn.Module):
    """Adds two streams; one goes through residual blocks of its own and so has a way around all weights."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(16, 16), nn.Linear(16, 4)
        self.fine = nn.Sequential(*(Residual(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16)) for _ in range(2)))
        self.coarse = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        return self.head(self.fine(x) + self.coarse(x))


def test_the_side_with_a_way_around_all_weights_is_the_shortcut() -> None:
    structure = find_structure(Exchange(), (FEATURES,))
    assert weights(structure) == {
        "stem.weight": "stem",
        "head.weight": "head",
        "fine.0.branch.0.weight": "branch",
        "fine.0.branch.2.weight": "branch_end",
        "fine.1.branch.0.weight": "branch",
        "fine.1.branch.2.weight": "branch_end",
        "coarse.weight": "branch_end",
    }
    assert structure.branches[-1] == Branch(("coarse.weight",), "coarse", "fine.0")


class Views(nn.Module):
    """A residual sum that is written in place into a part of a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(8, 8), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = x.clone()
        x[..., :8] += self.inner(x[..., :8])
        return self.head(x)


def test_writes_into_views_are_followed() -> None:
    assert weights(find_structure(Views(), (FEATURES,))) == {"inner.weight": "branch_end", "head.weight": "head"}


class Streams(nn.Module):
    """Two streams of blocks, of which one is projected onto the other, as in HRNet."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.transition, self.fuse, self.head = (nn.Linear(16, 16) for _ in range(4))
        self.fine, self.coarse = (Residual(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        coarse = self.coarse(self.transition(x).relu()).relu()
        return self.head(coarse + self.fuse(self.fine(x).relu()))


def test_what_fuses_two_streams_is_no_branch() -> None:
    assert weights(find_structure(Streams(), (FEATURES,))) == {
        "stem.weight": "stem",
        "transition.weight": "trunk",
        "fuse.weight": "trunk",
        "head.weight": "head",
        **{f"{stream}.branch.0.weight": "branch" for stream in ("fine", "coarse")},
        **{f"{stream}.branch.2.weight": "branch_end" for stream in ("fine", "coarse")},
    }


class CoarseGate(nn.Module):
    """x + y g(y) with y = f(x); the gate is made on a coarser grid and upsampled, as in CSATv2, with or without a sigmoid."""

    def __init__(self, is_bounded: bool) -> None:
        super().__init__()
        self.bound = nn.Sigmoid() if is_bounded else nn.Identity()
        self.stem, self.inner, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.gate, self.head = nn.Conv2d(8, 1, 3, padding=1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        y = self.last(self.inner(x).relu())
        return self.head(x + y * F.interpolate(self.bound(self.gate(F.avg_pool2d(y, 4))), scale_factor=4.0))


@pytest.mark.parametrize("is_bounded", [True, False])
def test_a_branch_whose_gate_is_upsampled_is_no_decoder(is_bounded: bool) -> None:
    assert weights(find_structure(CoarseGate(is_bounded), (IMAGES,))) == {
        "stem.weight": "stem",
        "inner.weight": "branch",
        "last.weight": "branch_end" if is_bounded else "branch",  # zeros would make the gate zero too
        "gate.weight": "gate",
        "head.weight": "head",
    }


class Decisions(nn.Module):
    """Steps that read the features through a mask which the step before makes; their outputs are added up, as in TabNet."""

    def __init__(self, is_apart: bool) -> None:
        super().__init__()
        self.is_apart = is_apart
        self.shared, self.head = nn.Linear(16, 16), nn.Linear(8, 3)
        self.own = nn.ModuleList(nn.Linear(16, 16) for _ in range(3))
        self.mask = nn.ModuleList(nn.Linear(8, 16) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        total, masked = torch.zeros(()), x
        for i, own in enumerate(self.own):
            h = self.shared(masked).relu()
            h = own(h) if self.is_apart else h + own(h)
            decision, state = h.chunk(2, -1)
            total = total + decision.relu()
            masked = x * self.mask[i](state).softmax(-1) if i < len(self.mask) else x
        return self.head(total.mean(1))


@pytest.mark.parametrize("is_apart", [True, False])
def test_sums_over_decision_steps_add_no_branch(is_apart: bool) -> None:
    parts = weights(find_structure(Decisions(is_apart), (FEATURES,)))
    assert parts == {
        "shared.weight": "stem",
        "head.weight": "head",
        **{f"own.{i}.weight": "trunk" if is_apart else "branch_end" for i in range(3)},
        **{f"mask.{i}.weight": "gate" for i in range(2)},
    }


class Shared(nn.Module):
    """A layer that is applied to two levels, whose outputs are added up."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down, self.shared, self.head = (nn.Linear(16, 16) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        return self.head(self.shared(x) + self.shared(self.down(x).relu()))


def test_what_one_layer_makes_of_several_values_is_no_branch() -> None:
    assert weights(find_structure(Shared(), (FEATURES,))) == {
        "stem.weight": "stem",
        "down.weight": "trunk",
        "shared.weight": "trunk",
        "head.weight": "head",
    }


class Adapted(nn.Module):
    """A block whose branch ends in a residual adapter (Houlsby et al. 2019), norms first or last."""

    def __init__(self, is_post: bool) -> None:
        super().__init__()
        self.is_post, self.norm = is_post, nn.LayerNorm(16)
        self.widen, self.narrow, self.down, self.up = nn.Linear(16, 32), nn.Linear(32, 16), nn.Linear(16, 4), nn.Linear(4, 16)

    def forward(self, x: Tensor) -> Tensor:
        y = self.narrow(self.widen(x if self.is_post else self.norm(x)).relu())
        x = x + (y + self.up(self.down(y).relu()))
        return self.norm(x) if self.is_post else x


@pytest.mark.parametrize("is_post", [True, False])
def test_a_branch_that_ends_in_a_residual_adapter_is_one(is_post: bool) -> None:
    model = nn.Sequential(nn.Linear(16, 16), Adapted(is_post), Adapted(is_post), nn.Linear(16, 4))
    parts = {"widen": "branch", "narrow": "branch_end", "down": "branch", "up": "branch_end"}
    assert weights(find_structure(model, (FEATURES,))) == {
        "0.weight": "stem",
        **{f"{block}.{name}.weight": part for block in (1, 2) for name, part in parts.items()},
        "3.weight": "head",
    }


class LowRank(nn.Module):
    """Blocks whose layers each have a parallel product of two thin ones, as LoRA's (Hu et al. 2022)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(16, 16), nn.Linear(16, 4)
        self.widen, self.narrow = nn.Linear(16, 32), nn.Linear(32, 16)
        self.a = nn.ModuleList([nn.Linear(16, 2, bias=False), nn.Linear(32, 2, bias=False)])
        self.b = nn.ModuleList([nn.Linear(2, 32, bias=False), nn.Linear(2, 16, bias=False)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = (self.widen(x) + 2 * self.b[0](F.dropout(self.a[0](x), 0.1, self.training))).relu()
        return self.head(x + self.narrow(y) + 2 * self.b[1](self.a[1](y)))


def test_a_product_of_layers_beside_a_layer_is_no_branch_of_it() -> None:
    assert weights(find_structure(LowRank(), (FEATURES,))) == {
        "stem.weight": "stem",
        "head.weight": "head",
        "widen.weight": "branch",
        "narrow.weight": "branch_end",
        "a.0.weight": "branch",
        "b.0.weight": "branch",
        "a.1.weight": "branch",
        "b.1.weight": "branch_end",
    }
