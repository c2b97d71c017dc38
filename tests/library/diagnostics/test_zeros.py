"""Two zero factors on a path are found and named; a single one is safe."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from idinit import check_zeros, initialize_
from idinit.diagnostics.zeros import Zero
from idinit.errors import UsageError

X = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    """x + scale * outer(relu(inner(x)))."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer, self.scale = nn.Linear(8, 8), nn.Linear(8, 8), nn.Parameter(torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * self.outer(self.inner(x).relu())


class Gated(nn.Module):
    """x + a(x) * b(x)."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.a(x) * self.b(x)


def net(*blocks: nn.Module, zero: Sequence[str]) -> nn.Module:
    """A stem, blocks, a head; biases are zero, and the parameters named."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), *blocks, nn.Linear(8, 2))
    for name, parameter in model.named_parameters():
        if name in zero or name.endswith("bias"):
            nn.init.zeros_(parameter)
    return model


@pytest.mark.parametrize(
    ("model", "steps"),
    [
        (net(Block(), zero=[]), {}),
        (net(Block(), zero=["1.outer.weight"]), {"1.outer.weight": 1}),
        (net(Block(), zero=["1.scale"]), {"1.scale": 1}),
        (net(Block(), Block(), zero=["1.outer.weight", "2.outer.weight"]), {"1.outer.weight": 1, "2.outer.weight": 1}),
        (net(Block(), zero=["1.outer.weight", "2.weight"]), {"1.outer.weight": 2, "2.weight": 1}),  # as in Fixup
        (net(Gated(), zero=["1.a.weight"]), {"1.a.weight": 1}),
    ],
)
def test_one_zero_a_path_is_safe(model: nn.Module, steps: dict[str, int]) -> None:
    found = check_zeros(model, (X,))
    assert {zero.parameter: zero.step for zero in found.zeros} == steps
    assert (found.violations, found.starved) == ((), ())


@pytest.mark.parametrize(
    ("model", "violations", "starved"),
    [
        (
            net(Block(), zero=["1.inner.weight", "1.outer.weight"]),
            [("1.inner.weight", "1.outer.weight")],
            ["1.inner.bias"],
        ),
        (
            net(Block(), zero=["1.outer.weight", "1.scale"]),
            [("1.outer.weight", "1.scale")],
            ["1.inner.weight", "1.inner.bias", "1.outer.bias"],
        ),
        (
            net(Block(), Block(), zero=[f"{i}.{name}" for i in (1, 2) for name in ("inner.weight", "outer.weight")]),
            [("1.inner.weight", "1.outer.weight"), ("2.inner.weight", "2.outer.weight")],
            ["1.inner.bias", "2.inner.bias"],
        ),
        (net(Gated(), zero=["1.a.weight", "1.b.weight"]), [("1.a.weight", "1.b.weight")], ["1.a.bias", "1.b.bias"]),
    ],
    ids=["in a row", "branch and scale", "two branches", "side by side"],
)
def test_two_zeros_on_a_path_are_named(model: nn.Module, violations: list[tuple[str, ...]], starved: list[str]) -> None:
    found = check_zeros(model, (X,))
    assert sorted(found.violations) == violations
    assert all(zero.step is None for zero in found.zeros)
    assert sorted(found.starved) == sorted(starved)


class Unused(nn.Module):
    """The first of two maps; the output does not depend on the second, which is evaluated as well."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.idle = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        self.idle(x).relu()
        return self.used(x)


class Routed(nn.Module):
    """Adds to x what an expert makes of the examples that are sent to it; to the second one, none are."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        sent = (torch.ones(len(x), dtype=torch.bool), torch.zeros(len(x), dtype=torch.bool))
        return x + sum(expert(x) * here[:, None] for expert, here in zip(self.experts, sent, strict=True))


@pytest.mark.parametrize(
    ("between", "violations"),
    [(nn.ReLU(), [("1.weight",)]), (nn.Tanh(), []), (nn.GELU(), []), (nn.Sequential(nn.LayerNorm(8), nn.ReLU()), [])],
)
def test_a_zero_alone_is_stuck_before_a_slope_of_zero(between: nn.Module, violations: list[tuple[str, ...]]) -> None:
    model = net(nn.Linear(8, 8), between, zero=["1.weight"])
    if isinstance(between, nn.Sequential):
        nn.init.ones_(between[0].bias)
    assert list(check_zeros(model, (X,)).violations) == violations


def test_a_normalization_of_zeros_before_a_rectifier_is_stuck() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    nn.init.zeros_(model[1].weight)
    found = check_zeros(model, (X,))
    assert found.violations == (("1.weight",),) and set(found.starved) >= {"0.weight", "1.bias", "3.weight"}
    nn.init.ones_(model[1].bias)
    assert check_zeros(model, (X,)).violations == ()


@pytest.mark.parametrize(
    ("block", "zero", "idle"),
    [
        (Unused(), ["1.idle.weight"], set()),
        (Routed(), ["1.experts.1.weight"], {"1.experts.1.weight"}),
        (Routed(), ["1.experts.0.weight", "1.experts.1.weight"], {"1.experts.1.weight"}),
    ],
)
def test_zeros_that_the_output_does_not_depend_on_are_not_to_blame(block: nn.Module, zero: list[str], idle: set[str]) -> None:
    found = check_zeros(net(block, zero=zero), (X,))
    assert found.violations == ()
    assert {item.parameter for item in found.zeros if item.step is None} >= idle


def test_what_is_stuck_stays_stuck() -> None:
    model = net(Block(), zero=["1.inner.weight", "1.outer.weight"])
    stuck = {zero.parameter for zero in check_zeros(model, (X,)).zeros} | {"1.inner.bias"}
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(20):
        optimizer.zero_grad()
        (model(X) - 1).square().mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    unmoved = {name for name, value in model.state_dict().items() if torch.equal(value, before[name])}
    assert unmoved == stuck


def test_normalization() -> None:
    model = torchvision.models.resnet18(zero_init_residual=True)
    images = torch.randn(4, 3, 32, 32)
    safe = check_zeros(model, (images,))
    assert {zero.part for zero in safe.zeros} == {"norm"} and len(safe.zeros) == 8
    assert {zero.step for zero in safe.zeros} == {1}
    nn.init.zeros_(model.layer2[0].conv2.weight)
    found = check_zeros(model, (images,))
    assert found.violations == (("layer2.0.conv2.weight", "layer2.0.bn2.weight"),)
    assert found.zeros[2] == Zero("layer2.0.conv2.weight", "branch_end", None, found.violations[0])
    assert "layer2.0.conv1.weight" in found.starved


class OnePlus(nn.Module):
    """A normalization with the scale 1 + w, whose zero is no zero factor."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(8))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * (1 + self.w)


def test_a_zero_that_acts_as_one() -> None:
    assert check_zeros(net(OnePlus(), zero=[]), (X,)).zeros == ()


@pytest.mark.parametrize("method", ["idinit", "fixup", "zero", "skipinit", "rezero"])
def test_no_initializer_breaks_the_rule(method: str) -> None:
    model = nn.Sequential(nn.Linear(8, 8), Block(), Block(), nn.Linear(8, 2))
    initialize_(model, method, (X,))
    assert check_zeros(model, (X,)).violations == ()


def test_the_table_and_the_model_as_it_was() -> None:
    model = net(Block(), zero=["1.outer.weight", "1.scale", "2.weight"])
    before = copy.deepcopy(model.state_dict())
    table = str(check_zeros(model, (X,)))
    assert "1.outer.weight" in table and "nothing, ever" in table and "1.outer.weight -> 1.scale" in table
    assert "step 1" in table
    assert "zero factors: 3; stuck paths: 1; starved besides: 3" in table
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_inputs_that_the_model_does_not_take() -> None:
    with pytest.raises(UsageError, match="example_inputs"):
        check_zeros(nn.Linear(3, 3), (X,))


@dataclasses.dataclass
class Output:
    logits: torch.Tensor
    name: str = "output"


class Wrapped(nn.Module):
    """A network whose zeros are in a row, and that returns something else than tensors."""

    def __init__(self, wrap):
        super().__init__()
        self.first, self.second, self.wrap = nn.Linear(4, 3), nn.Linear(3, 2), wrap
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x):
        return self.wrap(self.second(self.first(x)))


@pytest.mark.parametrize(
    "wrap",
    [
        Output,
        lambda y: torch.distributions.Normal(y, 1.0),
        lambda y: torch.distributions.Categorical(logits=y),
        lambda y: torch.distributions.Independent(torch.distributions.Normal(y, 1.0), 1),
        lambda y: {"a": [Output(y)]},
    ],
    ids=["dataclass", "normal", "categorical", "independent", "nested"],
)
def test_outputs_of_any_kind(wrap):
    zeros = {zero.parameter: zero.step for zero in check_zeros(Wrapped(wrap), (torch.rand(3, 4),)).zeros}
    assert zeros == {"first.weight": None, "second.weight": None}


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpointing_is_right_or_refused(use_reentrant):
    inner, outer = nn.Linear(4, 3), nn.Linear(3, 2)
    nn.init.zeros_(inner.weight)

    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.outer = inner, outer

        def forward(self, x):
            return self.outer(checkpoint(self.inner, x.clone().requires_grad_(), use_reentrant=use_reentrant))

    if use_reentrant:
        with pytest.raises(UsageError, match="use_reentrant=False"):
            check_zeros(Checkpointed(), (torch.rand(3, 4),))
    else:
        assert [zero.step for zero in check_zeros(Checkpointed(), (torch.rand(3, 4),)).zeros] == [1]
