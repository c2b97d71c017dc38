"""The parts found, against tables written by hand."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from idinit.analysis.flow import Flow
from idinit.analysis.reading import Reading
from idinit.data import Images
from idinit.errors import UsageError
from idinit.graph import capture
from idinit.models import MODELS
from idinit.parts import PARTS, Branch, Slice, Structure, find_parts, find_structure
from idinit.scalars import Scalar, attach_scalar

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
TOKENS = torch.arange(10).reshape(2, 5)
FEATURES = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(1))


def weights(structure: Structure) -> dict[str, str]:
    """The parts without biases and norms, which have tests of their own."""
    return {name: part for name, part in structure.parts.items() if part not in ("bias", "norm")}


def rows(structure: Structure, name: str) -> list[tuple[int, int, int, str]]:
    return [(s.dim, s.start, s.stop, s.part) for s in structure.slices.get(name, ())]


# --- the project's own models ---------------------------------------------------------------------------------------------

OWN: list[tuple[str, dict[str, Any], dict[str, str], list[Branch]]] = [
    (
        "resnet",
        {"depth": 8},
        {
            "stem.weight": "stem",
            "stage1.0.branch.conv1.weight": "branch",
            "stage1.0.branch.conv2.weight": "branch_end",
            "stage2.0.branch.conv1.weight": "branch",
            "stage2.0.branch.conv2.weight": "branch_end",
            "stage3.0.branch.conv1.weight": "branch",
            "stage3.0.branch.conv2.weight": "branch_end",
            "head.weight": "head",
            "head.bias": "bias",
        },
        [
            Branch(
                (f"stage{stage}.0.branch.conv1.weight", f"stage{stage}.0.branch.conv2.weight"),
                f"stage{stage}.0.branch",
                None if stage == 1 else f"stage{stage}.0.shortcut",
            )
            for stage in (1, 2, 3)
        ],
    ),
    (
        "resnet",
        {"depth": 8, "norm": "batch", "shortcut": "projection", "last_activation": "branch"},
        {
            "stem.weight": "stem",
            "norm.weight": "norm",
            "norm.bias": "norm",
            **{
                f"stage{stage}.0.{name}": part
                for stage in (1, 2, 3)
                for name, part in {
                    "branch.conv1.weight": "branch",
                    "branch.norm1.weight": "norm",
                    "branch.norm1.bias": "norm",
                    "branch.conv2.weight": "branch_end",
                    "branch.norm2.weight": "norm",
                    "branch.norm2.bias": "norm",
                    "shortcut.conv.weight": "shortcut",
                    "shortcut.norm.weight": "norm",
                    "shortcut.norm.bias": "norm",
                }.items()
                if stage > 1 or not name.startswith("shortcut")
            },
            "head.weight": "head",
            "head.bias": "bias",
        },
        [
            Branch(
                (f"stage{stage}.0.branch.conv1.weight", f"stage{stage}.0.branch.conv2.weight"),
                f"stage{stage}.0.branch",
                None if stage == 1 else f"stage{stage}.0.shortcut",
                f"stage{stage}.0.branch.norm2",
            )
            for stage in (1, 2, 3)
        ],
    ),
    (
        "allconv",
        {"width": 4},
        {
            "conv1.weight": "stem",
            **{f"conv{i}.weight": "trunk" for i in range(2, 9)},
            "conv9.weight": "head",
            **{f"conv{i}.bias": "bias" for i in range(1, 10)},
        },
        [],
    ),
]


@pytest.mark.parametrize(("name", "options", "parts", "branches"), OWN, ids=["resnet-pad", "resnet-projection", "allconv"])
def test_own_models(name: str, options: dict[str, Any], parts: dict[str, str], branches: list[Branch]) -> None:
    structure = find_structure(MODELS[name].build(Images((3, 32, 32), 10), **options), (IMAGES,))
    assert structure.parts == parts
    assert list(structure.branches) == branches
    assert (structure.shared, structure.unknown, structure.slices) == ({}, {}, {})


@pytest.mark.parametrize("name", list(MODELS))
def test_every_parameter_of_the_registered_models_has_a_part(name: str) -> None:
    model = MODELS[name].build(Images((3, 32, 32), 10))
    assert list(find_parts(model, (IMAGES,))) == [n for n, _ in model.named_parameters()]


# --- residual sums --------------------------------------------------------------------------------------------------------


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


class Dense(nn.Module):
    """Concatenates its input and a convolution of it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(x)], 1)


def conv(channels_in: int, channels: int, kernel: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels, kernel, padding=kernel // 2, bias=False, **options)


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


# --- layers ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_convolutions_of_any_dimension(dims: int) -> None:
    conv_, up, norm = (
        getattr(nn, f"Conv{dims}d"),
        getattr(nn, f"ConvTranspose{dims}d"),
        getattr(nn, f"InstanceNorm{dims}d"),
    )
    net = nn.Sequential(
        conv_(2, 8, 2), norm(8, affine=True), nn.ReLU(), conv_(8, 8, 3, groups=4), nn.GroupNorm(2, 8), up(8, 4, 2, 2),
        nn.PReLU(), conv_(4, 3, 1),
    )  # fmt: skip
    parts = find_parts(net, (torch.randn(2, 2, *[8] * dims),))
    assert parts == {
        "0.weight": "stem", "0.bias": "bias", "1.weight": "norm", "1.bias": "norm", "3.weight": "trunk", "3.bias": "bias",
        "4.weight": "norm", "4.bias": "norm", "5.weight": "trunk", "5.bias": "bias", "6.weight": "scale",
        "7.weight": "head", "7.bias": "bias",
    }  # fmt: skip


class Products(nn.Module):
    """Linear maps, scales and shifts that are no modules."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(16, 8))
        self.second = nn.Parameter(torch.randn(6, 8))
        self.third = nn.Parameter(torch.randn(6, 4))
        self.bias = nn.Parameter(torch.randn(6))
        self.gain = nn.Parameter(torch.ones(6))
        self.power = nn.Parameter(torch.ones(1))
        self.unused = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.addmm(self.bias, (x.flatten(0, 1) @ self.first).relu(), self.second.t()) * self.gain
        return torch.einsum("ni,io->no", x.abs() ** self.power, self.third)


def test_parameters_that_are_no_modules_and_those_not_understood() -> None:
    structure = find_structure(Products(), (FEATURES,))
    assert structure.parts == {
        "first": "stem",
        "second": "trunk",
        "third": "head",
        "bias": "bias",
        "gain": "scale",
    }
    assert structure.unknown == {
        "power": "what the operator pow does with it is not understood",
        "unused": "takes no part in the forward pass",
    }


class RMSNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))
        self.shift = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)) + self.shift


def test_a_normalization_written_by_hand() -> None:
    structure = find_structure(Residual(nn.Linear(16, 16), RMSNorm(16)), (FEATURES,))
    assert structure.parts["branch.1.gain"] == structure.parts["branch.1.shift"] == "norm"
    assert structure.branches == (Branch(("branch.0.weight",), "branch", end_norm="branch.1"),)


def test_reparametrized_weights() -> None:
    with pytest.warns(FutureWarning):
        old = nn.utils.weight_norm(nn.Linear(16, 16))
    net = nn.Sequential(
        old,
        nn.utils.parametrizations.weight_norm(nn.Linear(16, 16)),
        nn.utils.parametrizations.spectral_norm(nn.Linear(16, 16)),
        nn.utils.parametrizations.orthogonal(nn.Linear(16, 16)),
        nn.Linear(16, 4),
    )
    assert weights(find_structure(net, (FEATURES,))) == {
        "0.weight_g": "scale",
        "0.weight_v": "stem",
        "1.parametrizations.weight.original0": "scale",
        "1.parametrizations.weight.original1": "trunk",
        "2.parametrizations.weight.original": "trunk",
        "3.parametrizations.weight.original": "trunk",
        "4.weight": "head",
    }


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_networks(kind: type[nn.RNNBase]) -> None:
    class Text(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(20, 8)
            self.rnn = kind(8, 6, num_layers=2, bidirectional=True, batch_first=True)
            self.head = nn.Linear(12, 2)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.head(self.rnn(self.embed(tokens))[0][:, -1])

    structure = find_structure(Text(), (TOKENS,))
    assert structure.parts == {
        "embed.weight": "embedding",
        **{
            f"rnn.{kind_}_{at}_l{layer}{way}": "recurrent" if kind_ == "weight" else "bias"
            for layer in (0, 1)
            for way in ("", "_reverse")
            for kind_ in ("weight", "bias")
            for at in ("ih", "hh")
        },
        "head.weight": "head",
        "head.bias": "bias",
    }


class HandWrittenRNN(nn.Module):
    """h <- tanh(W x_t + U h)."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.u, self.head = nn.Linear(16, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(len(x), 8)
        for step in x.unbind(1):
            h = torch.tanh(self.w(step) + self.u(h))
        return self.head(h)


def test_a_recurrent_network_written_by_hand() -> None:
    structure = find_structure(HandWrittenRNN(), (FEATURES,))
    assert weights(structure) == {"w.weight": "stem", "u.weight": "recurrent", "head.weight": "head"}
    assert structure.branches == ()


# --- attention ------------------------------------------------------------------------------------------------------------


class Attention(nn.Module):
    """Self-attention with one matrix for queries, keys and values, in one of three layouts, with or without its output map."""

    def __init__(self, layout: str, fused: bool) -> None:
        super().__init__()
        self.qkv = nn.Linear(16, 48)
        self.proj = nn.Linear(16, 16)
        self.table = nn.Parameter(torch.zeros(1, 2, 5, 5))
        self.layout, self.fused = layout, fused

    def forward(self, x: Tensor) -> Tensor:
        y = self.qkv(x)
        if self.layout == "side by side":
            q, k, v = y.unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)
        elif self.layout == "chunks":
            q, k, v = (part.unflatten(-1, (2, 8)).transpose(1, 2) for part in y.chunk(3, -1))
        else:
            q, k, v = y.unflatten(-1, (2, 3, 8)).permute(3, 0, 2, 1, 4)
        if self.fused:
            z = F.scaled_dot_product_attention(q, k, v, self.table)
        else:
            z = (q / 8**0.5 @ k.transpose(-1, -2) + self.table).softmax(-1) @ v
        return self.proj(z.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("layout", ["side by side", "chunks", "by head"])
def test_packed_attention(layout: str, fused: bool) -> None:
    structure = find_structure(Residual(nn.LayerNorm(16), Attention(layout, fused)), (FEATURES,))
    assert weights(structure) == {
        "branch.1.table": "position",
        "branch.1.qkv.weight": "query",
        "branch.1.proj.weight": "branch_end",
    }
    names, size = ("query", "key", "value"), 8 if layout == "by head" else 16
    expected = [(0, i * size, (i + 1) * size, names[i % 3]) for i in range(48 // size)]
    assert rows(structure, "branch.1.qkv.weight") == expected
    assert structure.branches == (Branch(("branch.1.qkv.weight", "branch.1.proj.weight"), "branch"),)


def test_the_rows_of_the_values_are_those_that_reach_the_output() -> None:
    block = Attention("by head", fused=True)
    found = find_structure(block, (FEATURES,)).slices["qkv.weight"]
    with torch.no_grad():
        block.qkv.bias.zero_()
        for part in found:
            if part.part == "value":
                block.qkv.weight[part.start : part.stop] = 0
        assert torch.equal(block(FEATURES), block.proj.bias.expand(2, 5, 16))


def test_transformer_modules_of_torch() -> None:
    class Translator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.positions = nn.Embedding(20, 16), nn.Embedding(5, 16)
            self.transformer = nn.Transformer(16, 2, 1, 1, 32, batch_first=True)
            self.head = nn.Linear(16, 20, bias=False)
            self.head.weight = self.tokens.weight

        def forward(self, source: Tensor, target: Tensor) -> Tensor:
            place = self.positions(torch.arange(5))
            return self.head(self.transformer(self.tokens(source) + place, self.tokens(target) + place))

    structure = find_structure(Translator(), {"source": TOKENS, "target": TOKENS})
    assert weights(structure) == {
        "tokens.weight": "embedding",
        "positions.weight": "position",
        **{
            f"transformer.{side}.layers.0.{name}": part
            for side in ("encoder", "decoder")
            for name, part in {
                "self_attn.in_proj_weight": "query",
                "self_attn.out_proj.weight": "branch_end",
                "multihead_attn.in_proj_weight": "query",
                "multihead_attn.out_proj.weight": "branch_end",
                "linear1.weight": "branch",
                "linear2.weight": "branch_end",
            }.items()
            if side == "decoder" or not name.startswith("multihead")
        },
    }
    packed = [(0, 0, 16, "query"), (0, 16, 32, "key"), (0, 32, 48, "value")]
    assert rows(structure, "transformer.encoder.layers.0.self_attn.in_proj_weight") == packed
    assert rows(structure, "transformer.decoder.layers.0.multihead_attn.in_proj_weight") == packed
    assert structure.shared == {"tokens.weight": ("head.weight",)}
    assert [b.shortcut for b in structure.branches] == [None] * 5


class Pooling(nn.Module):
    """A learned query looks at all places; talking heads mix its scores."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(16, 2))
        self.heads = nn.Linear(2, 2)
        self.value = nn.Linear(16, 16)
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.heads(x @ self.query).transpose(1, 2)
        return self.head((scores.softmax(-1) @ self.value(x)).flatten(1))


def test_learned_queries_and_talking_heads() -> None:
    assert weights(find_structure(nn.Sequential(nn.Linear(16, 16), Pooling()), (FEATURES,))) == {
        "0.weight": "stem",
        "1.query": "query",
        "1.heads.weight": "trunk",
        "1.value.weight": "value",
        "1.head.weight": "head",
    }


class GatedUnit(nn.Module):
    """down(silu(gate(x)) * up(x)), the first two maps side by side or apart."""

    def __init__(self, packed: bool) -> None:
        super().__init__()
        self.packed = packed
        if packed:
            self.both = nn.Linear(16, 64)
        else:
            self.gate, self.up = nn.Linear(16, 32), nn.Linear(16, 32)
        self.down = nn.Linear(32, 16)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.both(x).chunk(2, -1) if self.packed else (self.gate(x), self.up(x))
        return self.down(F.silu(gate) * up)


def test_gated_units() -> None:
    apart = find_structure(Residual(GatedUnit(packed=False)), (FEATURES,))
    assert weights(apart) == {
        "branch.0.gate.weight": "gate",
        "branch.0.up.weight": "branch",
        "branch.0.down.weight": "branch_end",
    }
    assert apart.branches[0].weights == ("branch.0.up.weight", "branch.0.down.weight")
    packed = find_structure(Residual(GatedUnit(packed=True)), (FEATURES,))
    assert weights(packed) == {"branch.0.both.weight": "branch", "branch.0.down.weight": "branch_end"}
    assert packed.slices["branch.0.both.weight"] == (Slice(0, 0, 32, "gate"), Slice(0, 32, 64, "branch"))


class Vision(nn.Module):
    """A class token, learned positions and one attention."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, 16))
        self.place = nn.Parameter(torch.zeros(1, 17, 16))
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.block = Residual(nn.LayerNorm(16), nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.place
        return self.head(self.block(x)[:, 0])


def test_tokens_and_positions() -> None:
    assert weights(find_structure(Vision(), (IMAGES,))) == {
        "token": "embedding",
        "place": "position",
        "patches.weight": "stem",
        "block.branch.1.weight": "branch",
        "block.branch.3.weight": "branch_end",
        "head.weight": "head",
    }


# --- whole networks -------------------------------------------------------------------------------------------------------


def bottleneck(stage: int, index: int) -> dict[str, str]:
    names = {"conv1": "branch", "conv2": "branch", "conv3": "branch_end"} | ({"downsample.0": "shortcut"} if index == 0 else {})
    return {f"layer{stage}.{index}.{name}.weight": part for name, part in names.items()}


def test_torchvision_resnet50() -> None:
    structure = find_structure(torchvision.models.resnet50(), (IMAGES,))
    expected = {"conv1.weight": "stem"}
    for stage, depth in enumerate((3, 4, 6, 3), start=1):
        for index in range(depth):
            expected |= bottleneck(stage, index)
    assert weights(structure) == {**expected, "fc.weight": "head"}
    assert structure.branches[0] == Branch(
        ("layer1.0.conv1.weight", "layer1.0.conv2.weight", "layer1.0.conv3.weight"), "layer1.0.bn3", "layer1.0.downsample",
        "layer1.0.bn3",
    )  # fmt: skip
    assert len(structure.branches) == 16 and structure.unknown == {}


TORCHVISION = {
    "alexnet": 0, "squeezenet1_1": 0, "shufflenet_v2_x0_5": 0, "densenet121": 0,
    "resnet18": 8, "mobilenet_v2": 10, "mobilenet_v3_small": 6, "regnet_y_400mf": 16,
    "convnext_tiny": 18, "vit_b_16": 24,
}  # fmt: skip


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision_families(name: str) -> None:
    """There are as many branches as the publications' tables have blocks with a sum."""
    model = torchvision.models.get_model(name).to("meta")
    structure = find_structure(model, (torch.empty(1, 3, 224, 224),))
    assert list(structure.parts) == [n for n, _ in model.named_parameters()]
    assert len(structure.branches) == TORCHVISION[name]
    assert structure.unknown == {}


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "swin_v2_t"])
def test_a_branch_is_silent_without_its_last_weight(name: str) -> None:
    model = torchvision.models.get_model(name).eval()
    structure = find_structure(model, (IMAGES,))
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for parameter, part in structure.parts.items():
            if part in ("branch_end", "bias") or (part == "norm" and parameter.endswith("bias")):
                parameters[parameter].zero_()
        outputs: dict[str, Tensor] = {}
        for branch in structure.branches:
            assert branch.output
            module = model.get_submodule(branch.output)
            module.register_forward_hook(lambda _m, _a, y, at=branch.output: outputs.update({at: y.clone()}))
        model(IMAGES)
    assert outputs.keys() == {branch.output for branch in structure.branches}
    assert not any(output.any() for output in outputs.values())


def test_hugging_face_models() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        n_embd=32, n_layer=1, n_head=4, vocab_size=64, n_positions=16, bos_token_id=1, eos_token_id=1
    )
    structure = find_structure(transformers.GPT2LMHeadModel(config), {"input_ids": TOKENS})
    assert weights(structure) == {
        "transformer.wte.weight": "embedding",
        "transformer.wpe.weight": "position",
        "transformer.h.0.attn.c_attn.weight": "query",
        "transformer.h.0.attn.c_proj.weight": "branch_end",
        "transformer.h.0.mlp.c_fc.weight": "branch",
        "transformer.h.0.mlp.c_proj.weight": "branch_end",
    }
    assert rows(structure, "transformer.h.0.attn.c_attn.weight") == [
        (1, 0, 32, "query"),
        (1, 32, 64, "key"),
        (1, 64, 96, "value"),
    ]
    assert structure.shared == {"transformer.wte.weight": ("lm_head.weight",)}


def test_timm_models() -> None:
    timm = pytest.importorskip("timm")
    structure = find_structure(timm.create_model("seresnet18", pretrained=False), (IMAGES,))
    assert structure.parts["layer2.0.conv2.weight"] == "branch_end"
    assert structure.parts["layer2.0.se.fc1.weight"] == structure.parts["layer2.0.se.fc2.weight"] == "gate"
    assert structure.parts["layer2.0.downsample.0.weight"] == "shortcut"
    assert len(structure.branches) == 8 and structure.unknown == {}


# --- what else is promised ------------------------------------------------------------------------------------------------


class Undecided(nn.Module):
    """Cannot be exported: its control flow depends on values."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = Residual(nn.Linear(16, 16))
        self.block = Residual(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))
        self.norm = nn.BatchNorm1d(5)
        self.head = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() != 0:
            x = self.block(self.shared(self.shared(x)))
        return self.head(self.norm(x))


def test_a_model_that_does_not_export() -> None:
    structure = find_structure(Undecided(), (FEATURES,))
    assert weights(structure) == {
        "shared.branch.0.weight": "branch_end",
        "block.branch.0.weight": "branch",
        "block.branch.2.weight": "branch_end",
        "head.weight": "head",
    }
    assert structure.branches == (
        Branch(("shared.branch.0.weight",), None),
        Branch(("shared.branch.0.weight",), None),
        Branch(("block.branch.0.weight", "block.branch.2.weight"), "block.branch", sum_norm="norm"),
    )


@pytest.mark.parametrize("build", [Undecided, lambda: nn.LSTM(16, 4), lambda: nn.Sequential(nn.BatchNorm1d(5))])
def test_the_model_is_left_as_it_was(build: Callable[[], nn.Module]) -> None:
    model = build().train()
    first = next(model.children(), model).eval()
    first.register_buffer("seen", torch.zeros(()))
    handle = model.register_forward_pre_hook(lambda module, args: next(module.children(), module).seen.add_(1) and None)
    next(model.parameters()).requires_grad_(False)

    def state() -> list[Any]:
        modes = [(m.training, sorted(m.__dict__), {k: id(v) for k, v in m.__dict__.items()}) for m in model.modules()]
        grads = [(n, id(p), p.requires_grad, p.grad) for n, p in model.named_parameters()]
        flat = [id(w) for w in getattr(model, "_flat_weights", [])]
        return [modes, grads, flat, torch.get_rng_state().tolist(), torch.is_grad_enabled()]

    before, values = state(), copy.deepcopy(model.state_dict())
    find_structure(model, (FEATURES,))
    assert state() == before
    assert all(torch.equal(value, values[name]) for name, value in model.state_dict().items())
    handle.remove()
    assert not model._forward_pre_hooks


def test_scalars_that_a_method_has_added() -> None:
    model = MODELS["resnet"].build(Images((3, 32, 32), 10), depth=8)
    plain = find_structure(model, (IMAGES,))
    block = model.get_submodule("stage1.0")
    last = block.get_submodule("branch.conv2")
    attach_scalar(Scalar("input_bias", 0.0), last, last, block.get_submodule("shortcut"))
    attach_scalar(Scalar("output_scale", 1.0), last, last)
    structure = find_structure(model, (IMAGES,))
    added = {name: part for name, part in structure.parts.items() if name not in plain.parts}
    assert added == {
        "stage1.0.branch.conv2.input_bias.value": "bias",
        "stage1.0.branch.conv2.output_scale.value": "scale",
    }
    assert {name: part for name, part in structure.parts.items() if name in plain.parts} == plain.parts
    assert [b.weights for b in structure.branches] == [b.weights for b in plain.branches]


class Twice(nn.Module):
    """Runs one module twice, under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(16, 16)
        self.b = self.a
        self.head = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.a(x).relu()
        return self.head(x + self.b(x).relu())


def test_shared_weights_have_one_part_and_no_module_of_their_own() -> None:
    structure = find_structure(Twice(), (FEATURES,))
    assert weights(structure) == {"a.weight": "branch_end", "head.weight": "head"}
    assert structure.shared == {"a.weight": ("b.weight",), "a.bias": ("b.bias",)}
    assert structure.branches == (Branch(("a.weight",), None), Branch(("a.weight",), None))


class Auxiliary(nn.Module):
    """Has a second head in training."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.aux, self.head = nn.Linear(16, 16), nn.Linear(16, 3), nn.Linear(16, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(x)
        return (self.head(x), self.aux(x)) if self.training else (self.head(x),)


def test_heads_that_only_training_has() -> None:
    assert weights(find_structure(Auxiliary(), (FEATURES,))) == {
        "stem.weight": "stem",
        "aux.weight": "head",
        "head.weight": "head",
    }


def test_overrides() -> None:
    net = Net(Residual(conv(8, 8), nn.ReLU(), conv(8, 8)))
    net(IMAGES)
    structure = find_structure(net, (IMAGES,), overrides={"block.*": "trunk", "*.branch.2.*": "scale"})
    assert structure.parts["block.branch.0.weight"] == "trunk"
    assert structure.parts["block.branch.2.weight"] == "scale"
    assert structure.parts["stem.weight"] == "stem"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"0.weight": "trnk"}, "override '0.weight': unknown part 'trnk': did you mean 'trunk'"),
        ({"0.wight": "trunk"}, "override '0.wight' matches no parameter: did you mean '0.weight'"),
    ],
)
def test_overrides_that_make_no_sense(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_structure(nn.Sequential(nn.Linear(16, 4)), (FEATURES,), overrides=overrides)


def test_inputs_that_the_model_does_not_take() -> None:
    with pytest.raises(UsageError, match="example_inputs is a tensor: give a tuple"):
        find_structure(nn.Linear(16, 4), FEATURES)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="'weight' has no shape yet: run the model once"):
        find_structure(nn.LazyLinear(4), (FEATURES,))
    with pytest.raises(UsageError, match="the model does not run on example_inputs .*: give a tuple"):
        find_structure(nn.Linear(4, 4), (FEATURES,))


def test_deep_networks_are_read_in_seconds() -> None:
    with torch.device("meta"):
        model = torchvision.models.resnet152()
    graph = capture(model, (IMAGES,))
    start = time.process_time()
    reading = Reading(Flow(graph), {name: p.numel() for name, p in model.named_parameters()})
    assert time.process_time() - start < 3
    assert sum(part == "branch_end" for part in reading.parts.values()) == 50


def test_the_words_are_those_of_the_project() -> None:
    assert PARTS == (
        "stem", "trunk", "branch", "branch_end", "shortcut", "gate", "query", "key", "value", "embedding", "position",
        "recurrent", "norm", "bias", "scale", "head",
    )  # fmt: skip
