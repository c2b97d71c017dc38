"""A recorded graph run on real values does what the network does."""

from __future__ import annotations

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
