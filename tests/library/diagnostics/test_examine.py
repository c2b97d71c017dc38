"""`examine` finds every planted fault, says where it is, and stays silent on networks that are well."""

import json
import math
import re
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from idinit import examine, initialize_

WIDTH, DEPTH = 48, 6


class Layer(nn.Module):
    """A pre-norm layer of a decoder: attention, then w2(silu(w1 x) * w3 x), each behind a LayerScale."""

    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        self.w1, self.w3 = (nn.Linear(WIDTH, 2 * WIDTH, bias=False) for _ in range(2))
        self.w2 = nn.Linear(2 * WIDTH, WIDTH, bias=False)
        self.scale = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x):
        y = self.norm1(x)
        heads = (part(y).unflatten(-1, (4, -1)).transpose(1, 2) for part in (self.q, self.k, self.v))
        x = x + self.o(F.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2).flatten(2))
        y = self.norm2(x)
        return x + self.scale * self.w2(F.silu(self.w1(y)) * self.w3(y))


class Decoder(nn.Module):
    """A language model, all of whose weights are N(0, 0.02): [N, T] tokens -> [N, T, 50]."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(DEPTH))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 50, bias=False)
        self.register_buffer("frequencies", torch.ones(WIDTH))
        generator = torch.Generator().manual_seed(0)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02, generator=generator)

    def forward(self, tokens):
        x = self.embedding(tokens) * self.frequencies
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


class Block(nn.Module):
    def __init__(self, width, norm):
        super().__init__()
        make = (lambda: nn.BatchNorm2d(width)) if norm else nn.Identity
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
        self.norm1, self.norm2 = make(), make()

    def forward(self, x):
        return F.relu(x + self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))))


class ResNet(nn.Module):
    """A residual network: [N, 3, 8, 8] -> [N, 5]."""

    def __init__(self, depth=3, norm=True):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.blocks = nn.Sequential(*(Block(16, norm) for _ in range(depth)))
        self.head = nn.Linear(16, 5)
        generator = torch.Generator().manual_seed(0)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


def _perceptron(activation=nn.ReLU, depth=4, gain=2**0.5, width=64):
    layers = []
    generator = torch.Generator().manual_seed(0)
    for i in range(depth):
        layers += [nn.Linear(16 if i == 0 else width, width), activation()]
        nn.init.normal_(layers[-2].weight, std=gain * layers[-2].in_features ** -0.5, generator=generator)
        nn.init.zeros_(layers[-2].bias)
    return nn.Sequential(*layers, nn.Linear(width, 5))


class Bilinear(nn.Module):
    """x + o(a(norm(x)) * b(norm(x))), a gated linear unit without an activation function."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(16)
        self.a, self.b, self.o = nn.Linear(16, 32), nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x):
        y = self.norm(x)
        return x + self.o(self.a(y) * self.b(y))


def _same(a: nn.Module, b: nn.Module) -> None:
    b.load_state_dict(a.state_dict())


X = torch.randn(8, 16, generator=torch.Generator().manual_seed(1))
NETWORKS = {
    "decoder": (Decoder, torch.arange(32).view(2, 16)),
    "resnet": (ResNet, torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))),
    "perceptron": (_perceptron, X),
    "deep": (lambda: _perceptron(depth=30), X),
    "gelus": (lambda: _perceptron(nn.GELU), X),
    "sigmoids": (lambda: _perceptron(nn.Sigmoid, 3), X),
    "bilinear": (lambda: nn.Sequential(Bilinear(), Bilinear(), nn.Linear(16, 5)), X),
    "wide": (lambda: _perceptron(nn.Tanh, 2, 1.0, 1200), X),
}


class Fault(NamedTuple):
    """Something wrong: in which network, how it is planted, which kind of finding it is and what that names."""

    network: str
    plant: Callable[[nn.Module], object]
    kind: str
    where: tuple[str, ...]


def _each(model: nn.Module, change: Callable[[nn.Module, int], object]) -> None:
    for depth, layer in enumerate(model.layers):
        change(layer, depth)


def _deeper(*names: str) -> Callable[[nn.Module], None]:
    return lambda model: _each(model, lambda layer, i: [getattr(layer, n).weight.mul_((i + 1) ** -0.5) for n in names])


def _smaller(*names: str) -> Callable[[nn.Module], None]:
    return lambda model: _each(model, lambda layer, _: [getattr(layer, n).weight.mul_((2 * DEPTH) ** -0.5) for n in names])


def _bad_memory(weight: Tensor, value: float) -> None:
    weight.view(-1)[::7] = value


def _two_filters_alike(model: nn.Module) -> None:
    block = model.blocks[1]
    block.conv1.weight[3] = block.conv1.weight[5]
    block.conv2.weight[:, 3] = block.conv2.weight[:, 5]


def _all(model: nn.Module, value: float) -> None:
    for parameter in model.parameters():
        parameter.fill_(value)


def _cut_in_absolute_units(weight: Tensor) -> None:
    """What an inverse error function gives for bounds of +-2 and a deviation of 1e-3: here and there a 2."""
    weight.normal_(0, 1e-3)
    weight.view(-1)[[5, 90]] = torch.tensor([2.0, -2.0])


def _layers(*names: str) -> tuple[str, ...]:
    return tuple(f"layers.{i}.{name}.weight" for name in names for i in range(DEPTH))


FAULTS = {
    "not a number": Fault("decoder", lambda m: m.layers[1].w1.weight.fill_(math.nan), "memory", ("layers.1.w1.weight",)),
    "huge numbers": Fault("perceptron", lambda m: _bad_memory(m[2].weight, 1e30), "memory", ("2.weight",)),
    "numbers that no code writes": Fault("resnet", lambda m: _bad_memory(m.stem.weight, 1e-40), "memory", ("stem.weight",)),
    "zeros of fresh memory": Fault("decoder", lambda m: _all(m, 0.0), "memory", _layers("q")[:1]),
    "a buffer that was not written": Fault("decoder", lambda m: m.frequencies.fill_(math.nan), "memory", ("frequencies",)),
    "a variance that was not written": Fault(
        "resnet", lambda m: m.blocks[0].norm1.running_var.zero_(), "memory", ("blocks.0.norm1.running_var",)
    ),
    "two zero layers": Fault(
        "perceptron", lambda m: [m[i].weight.zero_() for i in (2, 4)], "zeros", ("2.weight", "4.weight")
    ),
    "a zero end behind a zero scale": Fault(
        "decoder",
        lambda m: (m.layers[2].w2.weight.zero_(), m.layers[2].scale.zero_()),
        "zeros",
        ("layers.2.w2.weight", "layers.2.scale"),
    ),
    "a zero layer before a rectifier": Fault("perceptron", lambda m: m[2].weight.zero_(), "zeros", ("2.weight",)),
    "a zero normalization before a rectifier": Fault(
        "resnet", lambda m: m.blocks[0].norm1.weight.zero_(), "zeros", ("blocks.0.norm1.weight",)
    ),
    "dead rectifiers": Fault("perceptron", lambda m: m[2].bias.fill_(-50), "dead", ("3",)),
    "dead GELUs": Fault("gelus", lambda m: m[4].bias.fill_(-50), "dead", ("5",)),
    "saturated sigmoids": Fault("sigmoids", lambda m: m[2].bias.fill_(50), "dead", ("3",)),
    "dead rectifiers behind convolutions": Fault(
        "resnet", lambda m: m.blocks[1].norm1.bias.fill_(-50), "dead", ("blocks.1",)
    ),
    "constants": Fault("perceptron", lambda m: [p.fill_(0.1) for p in m.parameters()], "twins", ("0.weight", "2.weight")),
    "two filters alike": Fault("resnet", _two_filters_alike, "twins", ("blocks.1.conv1.weight",)),
    "two layers alike": Fault("bilinear", lambda m: _same(m[1].a, m[1].b), "twins", ("1.a.weight", "1.b.weight")),
    "two layers alike behind zeros": Fault(
        "bilinear", lambda m: (_same(m[1].a, m[1].b), m[1].o.weight.zero_()), "twins", ("1.a.weight", "1.b.weight")
    ),
    "units alike behind zeros": Fault(
        "resnet", lambda m: (_two_filters_alike(m), m.blocks[1].norm2.weight.zero_()), "twins", ("blocks.1.conv1.weight",)
    ),
    "depth on the gate, not on the end": Fault("decoder", _deeper("o", "w1"), "depth", _layers("w1")),
    "depth on gate and value": Fault("decoder", _deeper("w1", "w3"), "depth", _layers("w1", "w3")),
    "depth on queries, keys and values": Fault("decoder", _deeper("q", "k", "v", "o", "w2"), "depth", _layers("q", "k", "v")),
    "one factor on the gate alone": Fault("decoder", _smaller("w1"), "depth", _layers("w1")),
    "one factor on the gate, not on the end": Fault("decoder", _smaller("o", "w3"), "depth", _layers("w3")),
    "an end without its factor": Fault("decoder", _smaller("w2"), "depth", _layers("o")),
    "an end that depth forgot": Fault("decoder", _deeper("o"), "depth", _layers("w2")),
    "bounds of +-2": Fault("resnet", lambda m: _cut_in_absolute_units(m.stem.weight), "outliers", ("stem.weight",)),
    "a weight without its fan-in": Fault("wide", lambda m: m[2].weight.normal_(0, 1), "spread", ("2.weight",)),
    "queries and keys too large": Fault(
        "decoder", lambda m: [p.weight.normal_(0, 1) for p in (m.layers[3].q, m.layers[3].k)], "softmax", ("layers.3",)
    ),
    "beyond half precision": Fault("perceptron", lambda m: m[4].weight.mul_(2e4), "overflow", ("4",)),
    "a stack that explodes": Fault("deep", lambda m: [m[2 * i].weight.mul_(2) for i in range(30)], "stack", ("0.weight",)),
    "a stack that dies": Fault("deep", lambda m: [m[2 * i].weight.mul_(0.4) for i in range(30)], "stack", ("0.weight",)),
}  # fmt: skip


def _build(network: str) -> tuple[nn.Module, tuple[Tensor]]:
    make, x = NETWORKS[network]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make(), (x,)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_that_is_well_has_no_findings(network):
    examination = examine(*_build(network))
    examination.assert_healthy()
    assert examination.is_healthy and not examination.notes
    assert "Nothing found." in str(examination)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_where_it_is(fault):
    network, plant, kind, where = FAULTS[fault]
    model, inputs = _build(network)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        plant(model)
    examination = examine(model, inputs)
    found = {name for finding in examination.findings if finding.kind == kind for name in finding.where}
    assert set(where) <= found, str(examination)
    if kind in ("dead", "depth", "twins", "outliers") or len(where) == 1 and kind == "zeros":
        assert {finding.kind for finding in examination.findings} == {kind}, str(examination)
    with pytest.raises(AssertionError, match=re.escape(where[0])):
        examination.assert_healthy()


@pytest.mark.parametrize(
    ("network", "name"), [("resnet", "blocks.0.norm2.weight"), ("perceptron", "8.weight"), ("decoder", "layers.1.w2.weight")]
)
def test_a_zero_that_moves_at_once_is_no_fault(network, name):
    model, inputs = _build(network)
    nn.init.zeros_(model.get_parameter(name))
    examine(model, inputs).assert_healthy()


def test_a_few_units_that_are_dead_by_chance_are_no_fault():
    model = _perceptron(width=8)
    nn.init.constant_(model[2].bias, -50)
    assert not examine(model, (X,)).findings


def test_identities_in_a_row_are_alike_at_first_only():
    model = nn.Sequential(*(nn.Linear(16, 16, bias=False) for _ in range(4)), nn.Linear(16, 5))
    for layer in model[:4]:
        nn.init.eye_(layer.weight)
    gradients = torch.autograd.grad(model(X).square().sum(), [model[1].weight, model[2].weight])
    torch.testing.assert_close(*gradients)
    examine(model, (X,)).assert_healthy()


@pytest.mark.parametrize("method", ["idinit", "zero", "kaiming"])
def test_factors_of_a_product_that_are_initialized_here_are_well(method):
    model, inputs = _build("bilinear")
    initialize_(model, method, inputs)
    examine(model, inputs).assert_healthy()


def test_gradients_that_fade_are_found_where_activations_do_not():
    model = _perceptron(nn.Sigmoid, 20)
    problems = [finding.problem for finding in examine(model, (X,)).findings if finding.kind == "stack"]
    assert len(problems) == 1 and re.match("Gradients shrink to .*e-[01][0-9] over 20 layers", problems[0])


@pytest.mark.parametrize(("batch", "notes"), [(2, 1), (16, 0)])
def test_gradients_behind_batch_norms_of_two_values_are_not_judged(batch, notes):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [layer for _ in range(20) for layer in (nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU())]
        model = nn.Sequential(*layers, nn.Linear(32, 4))
    examination = examine(model, (torch.randn(batch, 32, generator=torch.Generator().manual_seed(0)),))
    assert not examination.findings and len(examination.notes) == notes
    gradients = [signal.gradient for signal in examination.signals]
    assert (max(gradients) / min(gradients) > 1e8) == (batch == 2)


@pytest.mark.parametrize("method", ["idinit", "kaiming", "lecun", "orthogonal", "depth_scaled", "gpt2", "default"])
def test_networks_initialized_here_are_well(method):
    model, inputs = _build("decoder")
    initialize_(model, method, inputs)
    examine(model, inputs).assert_healthy()


def test_how_spreads_change_with_depth_is_told():
    model, inputs = _build("decoder")
    initialize_(model, "depth_scaled", inputs)
    exponents = {(s.part, s.matrices[0].shape): s.exponent for s in examine(model, inputs).series}
    assert exponents["branch_end", (WIDTH, WIDTH)] == pytest.approx(-0.5, abs=0.05)
    assert exponents["branch_end", (WIDTH, 2 * WIDTH)] == pytest.approx(-0.5, abs=0.05)
    assert {exponents[part, (WIDTH, WIDTH)] for part in ("query", "key", "value")} == {0.0}
    assert exponents["gate", (2 * WIDTH, WIDTH)] == exponents["branch", (2 * WIDTH, WIDTH)] == 0.0


def test_signals_branches_and_softmaxes_are_measured():
    model, inputs = _build("decoder")
    examination = examine(model, inputs)
    assert len(examination.branches) == 2 * DEPTH and all(0 < branch.ratio < 1 for branch in examination.branches)
    assert [softmax.module for softmax in examination.softmaxes] == [f"layers.{i}" for i in range(DEPTH)]
    assert all(softmax.evenness > 0.95 and softmax.choices == 16 for softmax in examination.softmaxes)
    assert {signal.part for signal in examination.signals} >= {"residual sum", "branch_end", "head"}


def test_half_precision_and_other_devices_change_nothing_of_the_verdict():
    model, inputs = _build("perceptron")
    examine(model.double(), (inputs[0].double(),)).assert_healthy()
    examine(model.bfloat16(), (inputs[0].bfloat16(),)).assert_healthy()


def test_the_network_is_left_as_it_was():
    model, inputs = _build("resnet")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    examine(model, inputs)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert modes == [module.training for module in model.modules()] and torch.equal(state, torch.get_rng_state())


def test_the_record_is_text_markdown_html_and_json():
    model, inputs = _build("perceptron")
    with torch.no_grad():
        model[2].weight.zero_()
        model[4].weight.zero_()
    examination = examine(model, inputs)
    found = json.loads(json.dumps(examination.to_dict()))
    assert [finding["kind"] for finding in found["findings"]] == ["zeros"]
    assert [m["looks"]["rule"] for m in found["matrices"]] == ["normal", "zeros", "zeros", "normal", "uniform"]
    assert found["matrices"][0]["looks"]["spread"] == pytest.approx(math.sqrt(2), rel=0.1)
    for text in (str(examination), examination.to_markdown(), examination._repr_html_()):
        assert all(word in text for word in ("64x64", "uniform", "2.weight", "Zeros in a row keep each other at zero"))
    assert examination.to_markdown().count("\n|") == 2 + len(examination.series)
    assert examination._repr_html_().count("<tr>") == 1 + len(examination.series)
