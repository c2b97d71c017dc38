"""Sizes of signals and of residual branches, against what can be computed by hand."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from idinit.diagnostics.branches import BranchSize, branch_sizes
from idinit.diagnostics.signal_profile import SUM, signal_profile
from idinit.errors import UsageError
from idinit.graph.probe import generic_loss

X = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    """x + scale * norm(outer(inner(x)))."""

    def __init__(self, scale: float, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
        self.norm = norm or nn.Identity()
        nn.init.eye_(self.inner.weight)
        nn.init.eye_(self.outer.weight)
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, x: Tensor) -> Tensor:
        y = self.scale * self.norm(self.outer(self.inner(x)))
        y += x  # in place, as many networks do
        return y


class Net(nn.Module):
    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.stem, self.blocks, self.head = nn.Linear(8, 8, bias=False), nn.Sequential(*blocks), nn.Linear(8, 2, bias=False)
        nn.init.eye_(self.stem.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)))


def size(tensor: Tensor) -> float:
    return float(tensor.detach().pow(2).mean().sqrt())


def test_sizes_of_branches() -> None:
    found = branch_sizes(Net(Block(0.5), Block(0.25), Block(0.1, nn.LayerNorm(8))), (X,))
    normal = nn.LayerNorm(8)(X * 1.5 * 1.25)
    expected = [
        BranchSize("blocks.0.outer.weight", 0.5, False),
        BranchSize("blocks.1.outer.weight", 0.25, False),
        BranchSize("blocks.2.outer.weight", 0.1 * size(normal) / size(X * 1.5 * 1.25), True),
    ]
    assert [(b.end, b.has_end_norm) for b in found] == [(b.end, b.has_end_norm) for b in expected]
    assert [b.ratio for b in found] == pytest.approx([b.ratio for b in expected], rel=1e-5)


class Halves(nn.Module):
    """Adds a layer of one half to the other half."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4, bias=False)
        nn.init.eye_(self.layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        a, b = (x * 1).chunk(2, -1)
        return b + 0.5 * self.layer(a)


def test_a_branch_of_one_part_of_a_tensor() -> None:
    (branch,) = branch_sizes(Halves(), (X,))
    assert branch.ratio == pytest.approx(0.5 * size(X[:, :4]) / max(size(X[:, :4]), size(X[:, 4:])), rel=1e-5)


def test_batch_normalization_after_a_branch_counts_with_the_statistics_of_the_batch() -> None:
    (branch,) = branch_sizes(Net(Block(1.0, nn.BatchNorm1d(8))).eval(), (1e3 * X,))
    assert branch.ratio == pytest.approx(1 / size(1e3 * X), rel=1e-4)


def test_signals_of_a_residual_network() -> None:
    net = Net(Block(0.5), Block(0.25))
    found = signal_profile(net, (X,))
    assert [(signal.name, signal.part) for signal in found] == [
        ("stem.weight", "stem"),
        ("blocks.0.inner.weight", "branch"),
        ("blocks.0.outer.weight", "branch_end"),
        ("blocks.0", SUM),
        ("blocks.1.inner.weight", "branch"),
        ("blocks.1.outer.weight", "branch_end"),
        ("blocks.1", SUM),
        ("head.weight", "head"),
    ]
    one = size(X)
    activations = [one, one, one, 1.5 * one, 1.5 * one, 1.5 * one, 1.875 * one, size(net.head(1.875 * X))]
    assert [signal.activation for signal in found] == pytest.approx(activations, rel=1e-5)
    output = net.head(1.875 * X).detach().requires_grad_()
    (last,) = torch.autograd.grad(generic_loss(output), output)
    back = size(last @ net.head.weight)
    gradients = [1.875 * back, 0.625 * back, 0.625 * back, 1.25 * back, 0.25 * back, 0.25 * back, back, size(last)]
    assert [signal.gradient for signal in found] == pytest.approx(gradients, rel=1e-5)


def test_a_gradient_that_arrives_nowhere_is_zero() -> None:
    found = signal_profile(Net(Block(0.0)), (X,))
    assert [signal.gradient == 0 for signal in found] == [False, True, True, False, False]


def test_recurrent_layers_and_embeddings() -> None:
    class Text(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.rnn, self.head = nn.Embedding(9, 4), nn.LSTM(4, 6, batch_first=True), nn.Linear(6, 2)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.head(self.rnn(self.embed(tokens))[0][:, -1])

    model = Text()
    tokens = torch.arange(8).reshape(2, 4)
    found = {signal.part: signal for signal in signal_profile(model, (tokens,))}
    assert list(found) == ["embedding", "recurrent", "head"]
    assert found["embedding"].activation == pytest.approx(size(model.embed(tokens)))
    assert found["recurrent"].activation == pytest.approx(size(model.rnn(model.embed(tokens))[0]))


def test_a_tied_embedding_is_the_head_at_the_other_end() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.layer = nn.Embedding(9, 4), nn.Linear(4, 4)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.layer(self.embed(tokens)) @ self.embed.weight.T

    found = signal_profile(Tied(), (torch.arange(8).reshape(2, 4),))
    assert [signal.part for signal in found] == ["embedding", "trunk", "head"]


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 2)
    )
    model.train()
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    signal_profile(model, (torch.ones(2, 3, 4, 4).normal_(generator=torch.Generator().manual_seed(0)),))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(module.training and not module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_an_output_without_gradient() -> None:
    model = nn.Linear(8, 2).requires_grad_(False)
    with pytest.raises(UsageError, match="no output"):
        signal_profile(model, (X,))
