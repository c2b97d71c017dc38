"""A recorded graph run on real values does what the network does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from idinit.errors import UsageError
from idinit.graph.capture import capture
from idinit.graph.evaluate import evaluate
from idinit.graph.node import Graph, Node


def same(_node: Node, value: Any) -> Any:
    return value


def run(model: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    with torch.no_grad():
        output: Tensor = tree_leaves(evaluate(capture(model, inputs), inputs, same))[0]
    return output


class InPlace(nn.Module):
    """Writes into its input, into a part of a tensor, and into what a layer has put out."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = x.mul_(2).clone()
        y[:, :4] += self.layer(x)[:, 4:].relu_()
        return y


class Choice(nn.Module):
    """Does not export: its control flow depends on values."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) if x.sum() > -1e9 else x


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (InPlace(), (2, 8)),
        (Choice(), (2, 8)),
        (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (2, 5, 8)),
        (nn.Sequential(nn.Conv1d(4, 8, 3), nn.GroupNorm(2, 8), nn.Flatten(), nn.Linear(24, 3)), (2, 4, 5)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_output_is_that_of_the_network(model: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    given = x.clone()
    output = run(model.eval(), (x,))
    assert torch.equal(x, given)
    torch.testing.assert_close(output, model(given))


FORMULAS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    **{
        equation: partial(torch.einsum, equation)
        for equation in (
            *("ti,tj->tij", "ti,tj->jti", "ij,kl->ijkl", "ti,ti->ti", "ti,it->it", "ij, jk -> ik", "ij,ik->jk", "ij,ij->"),
            *("ij,jk", "...i,...j->...ij", "t...,t...->t...", "ti,tj->...tij", "ii,ij->ij", "ii,jj->ij", "ii,kl->ikl"),
        )
    },
    **{
        equation: lambda x, y, equation=equation: torch.einsum(equation, x + y)  # type: ignore[misc]
        for equation in ("ii->i", "ii->", "ij->i", "ij->ji", "ij->", "...i->i...", "ij")
    },
    "vectors": lambda x, y: torch.einsum("i,j->ij", x[0], y[1]),
    "a number": lambda x, y: torch.einsum(",ij->ji", x.sum(), y),
    "a broadcast one": lambda x, y: torch.einsum("ti,ti->it", x[:, :1], y),
    "three factors": lambda x, y: torch.einsum("ti,tj,k->tikj", x, y, x[0]),
    "three factors, summed": lambda x, y: torch.einsum("ti,tj,kj->tik", x, y, x),
    "a list of numbers": lambda x, y: torch.einsum(x, [0, 1], y, [0, 2], [0, 2, 1]),
    "addmm": lambda x, y: torch.addmm(x, x, y, alpha=3.0),
    "baddbmm": lambda x, y: torch.baddbmm(x[None], x[None], y[None]),
    "addmv": lambda x, y: torch.addmv(x[0], x, y[1]),
    "addcmul": lambda x, y: torch.addcmul(x, x, y, value=-2.0),
    "glu": lambda x, y: nn.functional.glu(x * y, 0),
}


class Formulas(nn.Module):
    """What each formula makes of two matrices of four rows; with a choice that depends on values it does not export."""

    def __init__(self, *, is_traced: bool) -> None:
        super().__init__()
        self.left, self.right, self.is_traced = nn.Linear(4, 4), nn.Linear(4, 4), is_traced

    def forward(self, x: Tensor) -> list[Tensor]:
        if self.is_traced and x.sum() > 1e9:
            return []
        left, right = self.left(x), self.right(x)
        return [formula(left, right) for formula in FORMULAS.values()]


@pytest.mark.parametrize("is_traced", [False, True], ids=["exported", "traced"])
def test_what_is_recorded_as_several_operators_has_the_value_of_the_one(is_traced: bool) -> None:
    model, x = Formulas(is_traced=is_traced), torch.randn(4, 4)
    found = tree_leaves(evaluate(capture(model, x), (x,)))
    torch.testing.assert_close(dict(zip(FORMULAS, found, strict=True)), dict(zip(FORMULAS, model(x), strict=True)))


def test_batch_normalization_uses_the_batch_and_keeps_its_statistics() -> None:
    model = torchvision.models.resnet18().train()
    x = torch.randn(4, 3, 32, 32)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    output = run(model, (x,))
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    torch.testing.assert_close(output, model(x), rtol=1e-4, atol=1e-4)


def test_parameters_have_their_present_values() -> None:
    model = nn.Linear(4, 4)
    x = torch.ones(1, 4)
    graph = capture(model, (x,))
    with torch.no_grad():
        nn.init.eye_(model.weight)
        nn.init.zeros_(model.bias)
        assert torch.equal(tree_leaves(evaluate(graph, (x,), same))[0], x)


def test_the_watch_sees_values_before_they_are_overwritten_and_may_replace_them() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(inplace=True))
    nn.init.constant_(model[0].weight, -1.0)  # type: ignore[arg-type]
    seen: list[float] = []

    def negate(node: Node, value: Any) -> Any:
        if node.op == "linear":
            seen.append(float(value.sum()))
            return -value
        return value

    x = torch.ones(1, 2)
    with torch.no_grad():
        output = tree_leaves(evaluate(capture(model, (x,)), (x,), negate))[0]
    assert seen == [-4.0]
    assert output.tolist() == [[2.0, 2.0]]


def test_what_cannot_be_run() -> None:
    with pytest.raises(UsageError, match="inputs"):
        evaluate(capture(nn.Linear(2, 2), (torch.ones(1, 2),)), (), same)
    loop = Graph([Node(0, "while_loop", {})], set())
    with pytest.raises(UsageError, match="'while_loop'"):
        evaluate(loop, (), same)
