"""A residual sum is found however it is written, and what authors chose is kept."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import partial

import pytest
import torch
from networks import FEATURES
from published import PUBLISHED, DiT, Highway
from published_images import ControlNet, Deformable, Detector, SpatialTransformer
from torch import Tensor, nn
from transformers import MambaConfig, MambaForCausalLM

from idinit import check_zeros, initialize_
from idinit.diagnostics.branches import branch_sizes
from idinit.errors import UsageError
from idinit.parts import find_structure

WAYS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "lerp": lambda x, y: torch.lerp(x, y, 0.5),
    "stack, sum": lambda x, y: torch.stack([x, y]).sum(0),
    "stack, mean": lambda x, y: torch.stack([x, y], -1).mean(-1),
    "einsum": lambda x, y: torch.einsum("kbtd->btd", torch.stack([x, y])),
    "index_add": lambda x, y: x.index_add(1, torch.arange(5), y),
    "scatter_add": lambda x, y: x.scatter_add(1, torch.arange(5)[None, :, None].expand(2, 5, 16), y),
    "baddbmm": lambda x, y: torch.baddbmm(x, y, torch.eye(16).expand(2, 16, 16)),
    "addcmul": lambda x, y: torch.addcmul(x, y, torch.ones(16)),
}


class Added(nn.Module):
    def __init__(self, way: str) -> None:
        super().__init__()
        self.stem, self.inner, self.outer, self.head = (nn.Linear(16, 16) for _ in range(4))
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(WAYS[self.way](x, self.outer(self.inner(x).relu())))


@pytest.mark.parametrize("way", WAYS)
def test_ways_to_add_a_branch(way: str) -> None:
    structure = find_structure(Added(way), (FEATURES,))
    assert [branch.weights for branch in structure.branches] == [("inner.weight", "outer.weight")]


@pytest.mark.parametrize("method", ["rezero", "skipinit"])
def test_a_multiplier_that_would_silence_the_skip_is_refused(method: str) -> None:
    build, inputs, _ = PUBLISHED["wavenet"]
    with pytest.raises(UsageError, match="other rows of it.*a layer of their own"):
        initialize_(build(), method, inputs)


def test_rows_that_lead_out_of_a_branch_are_not_scaled_as_its_layers() -> None:
    build, inputs, _ = PUBLISHED["wavenet"]
    rules = {row.parameter: row.rule for row in initialize_(build(), "fixup", inputs).rows}
    assert rules["out.0.weight"] == "branch_end: 0; trunk: Kaiming normal, fan-out"
    assert rules["dilated.0.weight"] == "Kaiming normal, fan-out, x 0.7071"


@pytest.mark.parametrize("method", ["idinit", "fixup", "zero"])
def test_only_the_rows_that_are_added_are_silent(method: str) -> None:
    build, inputs, _ = PUBLISHED["wavenet"]
    model = build()
    initialize_(model, method, inputs)
    out = model.out[0].weight
    assert out[:8].abs().max() < 1e-5 and out[8:].abs().max() > 0.1


@pytest.mark.parametrize("name", ["LSTM", "LSTM, two weights", "GRU"])
def test_the_gate_that_keeps_the_state_is_open(name: str) -> None:
    build, inputs, _ = PUBLISHED[name]
    model = build()
    initialize_(model, "idinit", inputs)
    bias = model.update.bias if name == "GRU" else model.x.bias[8:16]
    assert bias.tolist() == [1.0] * 8
    assert sum(float(p.detach().sum()) for n, p in model.named_parameters() if n.endswith("bias")) == 8
    assert model(*inputs).std(0).max() > 1e-3


def test_a_modulated_kernel_is_filled_as_a_layer() -> None:
    build, inputs, _ = PUBLISHED["modulated"]
    model = build()
    initialize_(model, "kaiming", inputs)
    assert model.a.weight.unique().numel() == model.a.weight.numel()


def mamba() -> nn.Module:
    """A language model of one layer whose step sizes are spread over 0.001 to 0.1 (Gu & Dao 2023)."""
    torch.manual_seed(0)
    return MambaForCausalLM(MambaConfig(hidden_size=16, num_hidden_layers=1, vocab_size=50, state_size=4)).float()


class Policy(nn.Module):
    """Actions of a robot and their spread, which is learned and starts at exp(-0.5), as in PPO's code for it."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 2))
        self.log_std = nn.Parameter(torch.full((1, 2), -0.5))
        self.place = nn.Parameter(torch.randn(1, 6, generator=torch.Generator().manual_seed(0)))  # a random draw is not chosen

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.mean(x + self.place)
        return mean, self.log_std.expand_as(mean).exp() + 0 * mean


class Opened(nn.Module):
    """Layers of zeros that make a gate or are added, with a random bias or without one."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.stem, self.inner, self.other, self.head = (nn.Linear(16, 16) for _ in range(4))
        self.gate, self.added = (nn.Linear(16, 16, bias) for _ in range(2))
        for layer in (self.gate, self.added):
            nn.init.zeros_(layer.weight)
            if bias:
                nn.init.normal_(layer.bias, std=0.1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        x = self.inner(self.stem(x).relu()) + self.added(self.other(condition).relu())
        return self.head(x.relu() * self.gate(condition).sigmoid())


CHOSEN = {
    "policy": (Policy, (torch.randn(4, 6),), {"log_std"}),
    "Mamba": (mamba, (torch.arange(14).view(2, 7),), {"backbone.layers.0.mixer.dt_proj.bias"}),
    "detector": (Detector, (torch.randn(2, 3, 16, 16),), {"scores.bias"}),
    "deformable": (Deformable, (torch.randn(2, 3, 16, 16),), {"offsets.weight", "offsets.bias"}),
    "adaLN-Zero": (
        lambda: DiT(is_zeroed=True),
        (torch.randn(2, 5, 6), torch.randn(2, 4)),
        {f"blocks.{i}.ada.{name}" for i in range(2) for name in ("weight", "bias")},
    ),
    "ControlNet": (
        ControlNet,
        (torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)),
        {f"zeros.{i}.{name}" for i in range(3) for name in ("weight", "bias")},
    ),
    "zeros with a random bias": (
        partial(Opened, bias=True),
        (FEATURES, FEATURES),
        {f"{layer}.{name}" for layer in ("gate", "added") for name in ("weight", "bias")},
    ),
    "zeros without a bias": (partial(Opened, bias=False), (FEATURES, FEATURES), {"gate.weight", "added.weight"}),
    "highway": (Highway, (torch.randn(5, 4),), {f"gate.{i}.bias" for i in range(3)}),
    "spatial transformer": (SpatialTransformer, (torch.randn(2, 1, 16, 16),), {"locate.5.weight", "locate.5.bias"}),
}


@pytest.mark.parametrize("method", ["default", "kaiming", "idinit"])
@pytest.mark.parametrize("name", CHOSEN)
def test_what_the_author_chose_is_kept_unless_it_is_to_be_replaced(name: str, method: str) -> None:
    build, inputs, chosen = CHOSEN[name]
    model = build()
    plain = copy.deepcopy(dict(model.named_parameters()))
    for _ in range(2):  # calling twice is the same as calling once
        rows = initialize_(model, method, inputs).rows
        assert {row.parameter for row in rows if row.note.startswith("chosen by the model's author")} == chosen
        assert all(torch.equal(model.get_parameter(n), plain[n]) for n in chosen)
    initialize_(model, method, inputs, replace="*")
    filled = {n for n in chosen if plain[n].any() or not n.endswith("bias")}  # a bias of zeros is one again
    if method == "default":
        filled -= {"log_std"}  # of no module with a default
    assert not any(torch.equal(model.get_parameter(n), plain[n]) for n in filled)


@pytest.mark.parametrize("method", ["fixup", "zero", "idinit"])
def test_a_branch_that_starts_at_zero_keeps_no_bias_of_its_end(method: str) -> None:
    model = Added("lerp")
    for linear in (model.stem, model.inner, model.outer):  # timm's Hiera starts all biases at 0.02
        nn.init.constant_(linear.bias, 0.02)
    rows = {row.parameter: row.note for row in initialize_(model, method, (FEATURES,)).rows}
    assert max(size.ratio for size in branch_sizes(model, (FEATURES,))) < 1e-4
    assert [name for name, note in rows.items() if "author" in note] == ["stem.bias", "inner.bias"]


@pytest.mark.parametrize("method", ["fixup", "zero", "rezero", "skipinit"])
def test_branches_that_are_silent_twice_are_refused(method: str) -> None:
    build, inputs, _ = CHOSEN["adaLN-Zero"]
    model = build()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(UsageError, match="'blocks.0.ada.weight'") as refused:
        initialize_(model, method, inputs)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    patterns = ast.literal_eval(str(refused.value).partition("replace=")[2].partition(", or use")[0])
    matched = {name for name in before for pattern in patterns if fnmatchcase(name, pattern)}
    assert matched == {name for name in before if ".ada." in name}
    initialize_(model, method, inputs, replace=patterns)
    assert model.blocks[0]["ada"].weight.any() and not check_zeros(model, inputs).violations


class Gated(nn.Module):
    """A block with a scalar gate of zero inside a function, as Flamingo's tanh(gate)."""

    def __init__(self, open_gate: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(16, 16), nn.Linear(16, 16)
        self.gate = nn.Parameter(torch.zeros(1))
        self.open_gate = open_gate

    def forward(self, x: Tensor) -> Tensor:
        return x + self.outer(self.inner(x).relu()) * self.open_gate(self.gate)


@pytest.mark.parametrize("method", ["fixup", "zero", "rezero", "skipinit"])
@pytest.mark.parametrize("open_gate", [torch.tanh, torch.sin, torch.expm1, lambda gate: gate.clamp(-1, 1)])
def test_a_gate_of_zero_that_cannot_be_opened_is_refused(open_gate: Callable[[Tensor], Tensor], method: str) -> None:
    model = nn.Sequential(nn.Linear(16, 16), Gated(open_gate), nn.Linear(16, 4))
    with pytest.raises(UsageError, match="'1.outer.*'1.gate'.*'idinit'"):
        initialize_(model, method, (FEATURES,))
    initialize_(model, "idinit", (FEATURES,))
    assert model[1].gate == 0 and not check_zeros(model, (FEATURES,)).violations


@pytest.mark.parametrize(("factor", "value"), [(1.0, 1.0), (2.0, 0.5), (-1.0, -1.0)])
def test_a_gate_with_a_number_is_opened_to_one(factor: float, value: float) -> None:
    model = nn.Sequential(nn.Linear(16, 16), Gated(lambda gate: factor * gate), nn.Linear(16, 4))
    initialize_(model, "rezero", (FEATURES,))
    assert model[1].gate == value


class Rectified(nn.Module):
    """Blocks of a temporal convolutional network (Bai et al. 2018): a ReLU is the last layer of each branch."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(16, 16), nn.Linear(16, 4)
        self.inner, self.outer = (nn.ModuleList(nn.Linear(16, 16) for _ in range(2)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for inner, outer in zip(self.inner, self.outer, strict=True):
            x = x + outer(inner(x).relu()).relu()
        return self.head(x)


@pytest.mark.parametrize("method", ["fixup", "zero", "rezero", "skipinit"])
def test_a_branch_of_zeros_that_a_relu_keeps_shut_is_refused(method: str) -> None:
    model = Rectified()
    with pytest.raises(UsageError, match=r"'outer.0.*ReLU.*'idinit'"):
        initialize_(model, method, (FEATURES,))
    initialize_(model, "idinit", (FEATURES,))
    assert not check_zeros(model, (FEATURES,)).violations


def test_a_gate_of_zeros_elsewhere_does_not_stop_a_method() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block, self.gate, self.head = Added("lerp"), nn.Linear(16, 16), nn.Linear(16, 4)
            nn.init.zeros_(self.gate.weight)
            nn.init.zeros_(self.gate.bias)

        def forward(self, x: Tensor, condition: Tensor) -> Tensor:
            return self.head(self.block(x) * self.gate(condition).sigmoid())

    model = Net()
    initialize_(model, "rezero", (FEATURES, FEATURES))
    assert not model.gate.weight.any() and not check_zeros(model, (FEATURES, FEATURES)).violations


def test_the_usual_bias_of_a_transposed_convolution_is_no_choice() -> None:
    model = nn.Sequential(nn.Conv2d(3, 16, 1), nn.ConvTranspose2d(16, 8, 2, 2))
    with torch.no_grad():
        model[1].bias.copy_(torch.linspace(0.13, 0.17, 8))  # U(-b, b) with b = 1/sqrt(8 * 2 * 2) = 0.18, as torch draws it
    rows = initialize_(model, "kaiming", (torch.randn(2, 3, 4, 4),)).rows
    assert not [row.parameter for row in rows if "chosen" in row.note]


def test_memory_that_nobody_has_initialized_is_no_choice() -> None:
    build, inputs, _ = CHOSEN["adaLN-Zero"]
    model = build()
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    initialize_(model, "kaiming", inputs)
    assert model.blocks[0]["ada"].weight.any()


def test_a_trained_network_has_nothing_that_was_chosen() -> None:
    model = nn.Sequential(nn.Linear(16, 16), nn.LayerNorm(16), nn.Linear(16, 4))
    nn.init.constant_(model[2].bias, -4.6)
    assert "chosen" in {r.parameter: r.note for r in initialize_(model, "kaiming", (FEATURES,)).rows}["2.bias"]
    nn.init.normal_(model[1].weight)
    initialize_(model, "kaiming", (FEATURES,))
    assert not model[2].bias.any()
