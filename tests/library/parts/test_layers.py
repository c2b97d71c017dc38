"""Layers of all kinds: convolutions, products, normalizations, parametrized and recurrent weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from networks import FEATURES, TOKENS, Residual, weights
from torch import Tensor, nn

from idinit import initialize_
from idinit.parts import Branch, find_parts, find_structure


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
        "power": "its use by the operator pow is not recognized",
        "unused": "takes no part in the forward pass",
    }


class Spread(nn.Module):
    """A policy (Schulman et al. 2017): the mean of its actions depends on what it sees, their spread does not."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.log_std = nn.Linear(16, 3), nn.Parameter(torch.full((3,), -0.5))
        self.token, self.unused = nn.Parameter(torch.randn(16)), nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        mean = self.mean(x + self.token)
        return mean, self.log_std.exp().expand_as(mean), self.token


def test_what_is_put_out_without_data_takes_part() -> None:
    structure = find_structure(Spread(), (FEATURES,))
    assert structure.parts == {"mean.weight": "head", "mean.bias": "bias", "token": "bias"}
    assert structure.unknown == {
        "log_std": "is put out without meeting the input",
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
    assert weights(structure) == {"w.weight": "recurrent", "u.weight": "recurrent", "head.weight": "head"}
    assert structure.branches == ()


class Lists(nn.Module):
    """Parameters that lists and dictionaries hold."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ParameterList(torch.randn(16, 16) for _ in range(3))
        self.shifts = nn.ParameterDict({"first": torch.zeros(16), "last": torch.zeros(4)})
        self.head = nn.ParameterList([torch.randn(16, 4)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = (x @ layer + self.shifts["first"]).relu()
        return x @ self.head[0] + self.shifts["last"]


def test_parameters_in_lists_and_dictionaries() -> None:
    expected = {
        "layers.0": "stem",
        "layers.1": "trunk",
        "layers.2": "trunk",
        "shifts.first": "bias",
        "shifts.last": "bias",
        "head.0": "head",
    }
    model = Lists()
    assert find_structure(model, (FEATURES,)).parts == expected
    report = initialize_(model, "idinit", (FEATURES,))
    assert {row.parameter: row.part for row in report.rows} == expected
    assert not report.left_alone


class Experts(nn.Module):
    """Each token goes through the one of three linear maps that a router chooses."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(16, 3)
        self.weight, self.bias = nn.Parameter(torch.randn(3, 16, 16)), nn.Parameter(torch.zeros(3, 16))

    def forward(self, x: Tensor) -> Tensor:
        scores, chosen = self.router(x).softmax(-1).max(-1)
        y = (x.unsqueeze(-2) @ self.weight[chosen]).squeeze(-2) + self.bias[chosen]
        return x + scores.unsqueeze(-1) * y


def test_biases_of_experts() -> None:
    assert find_structure(nn.Sequential(nn.Linear(16, 16), Experts()), (FEATURES,)).parts == {
        "0.weight": "stem",
        "0.bias": "bias",
        "1.router.weight": "gate",
        "1.router.bias": "bias",
        "1.weight": "branch_end",
        "1.bias": "bias",
    }


class Noisy(nn.Module):
    """A layer with noise in its weight: in training only (Fortunato et al. 2018), or always (Blundell et al. 2015)."""

    def __init__(self, inputs: int, outputs: int, *, is_always: bool) -> None:
        super().__init__()
        self.mu, self.sigma = nn.Linear(inputs, outputs), nn.Parameter(torch.full((outputs, inputs), 0.5))
        self.bias_sigma, self.is_always = nn.Parameter(torch.full((outputs,), 0.5)), is_always
        self.register_buffer("noise", torch.randn(outputs, inputs))
        self.register_buffer("bias_noise", torch.randn(outputs))

    def forward(self, x: Tensor) -> Tensor:
        if self.is_always:
            weight = self.mu.weight + nn.functional.softplus(self.sigma) * torch.randn_like(self.sigma)
            return nn.functional.linear(x, weight, self.mu.bias + self.bias_sigma * torch.randn_like(self.bias_sigma))
        if not self.training:
            return self.mu(x)
        return nn.functional.linear(
            x, self.mu.weight + self.sigma * self.noise, self.mu.bias + self.bias_sigma * self.bias_noise
        )


@pytest.mark.parametrize("is_always", [False, True])
@pytest.mark.parametrize("is_training", [False, True])
def test_weights_with_noise(is_always: bool, is_training: bool) -> None:
    net = nn.Sequential(Noisy(4, 16, is_always=is_always), nn.ReLU(), Noisy(16, 3, is_always=is_always)).train(is_training)
    parts = find_parts(net, (torch.randn(5, 4),))
    for layer, part in (("0", "stem"), ("2", "head")):
        names = ("mu.weight", "mu.bias", "sigma", "bias_sigma")
        assert [parts[f"{layer}.{name}"] for name in names] == [part, "bias", "scale", "scale"]
    initialize_(net, "xavier", (torch.randn(5, 4),))
    plain = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    initialize_(plain, "xavier", (torch.randn(5, 4),))
    for layer in (0, 2):
        assert torch.equal(net[layer].mu.weight, plain[layer].weight) and not net[layer].mu.bias.any()
        assert bool((net[layer].sigma == 0.5).all() and (net[layer].bias_sigma == 0.5).all())


class Places(nn.Module):
    """Adds something learned to a sequence, [N, 6, 8]."""

    def __init__(self, add: Callable[[Places, Tensor], Tensor], *shape: int) -> None:
        super().__init__()
        self.stem, self.head, self.add, self.learned = nn.Linear(16, 8), nn.Linear(8, 3), add, nn.Parameter(torch.ones(*shape))
        self.register_buffer("waves", torch.randn(9, 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.add(self, self.stem(x)).mean(1))


PLACES: dict[str, tuple[Callable[[Places, Tensor], Tensor], tuple[int, ...], str]] = {
    "table": (lambda net, x: x + net.learned[:, :5].expand(len(x), -1, -1), (1, 9, 8), "position"),
    "flat table": (lambda net, x: x + net.learned.view(5, 8), (40,), "position"),
    "repeated vector": (lambda net, x: x + net.learned.expand_as(x), (8,), "bias"),
    "factor of waves": (lambda net, x: x + net.learned * net.waves[:5], (1,), "scale"),
    "factor of a state": (lambda net, x: net.learned.exp() * torch.zeros_like(x) + x, (8,), "scale"),
}


@pytest.mark.parametrize("name", PLACES)
def test_what_is_added_to_a_sequence(name: str) -> None:
    add, shape, part = PLACES[name]
    assert find_parts(Places(add, *shape), (FEATURES,))["learned"] == part
