"""What else is promised: any model, left as it was; shared weights, overrides, clear errors, speed."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import pytest
import torch
import torchvision
from networks import FEATURES, IMAGES, Net, Residual, conv, weights
from plain_networks import resnet
from torch import Tensor, nn

from idinit.errors import UsageError
from idinit.graph.capture import capture
from idinit.graph.dataflow import Flow
from idinit.network.scalars import Scalar, attach_scalar
from idinit.parts import Branch, find_structure
from idinit.parts.classify import classify
from idinit.parts.structure import PARTS, patterns_for


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
    model = resnet((3, 32, 32), 10, depth=8, width=16)
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


def test_an_override_by_a_part_of_matrices_leaves_biases_and_norms_what_they_are() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.LazyLinear(2))
    net(IMAGES)
    structure = find_structure(net, (IMAGES,), overrides={"*": "trunk"})
    assert list(structure.parts.values()) == ["trunk", "bias", "norm", "norm", "trunk", "bias"]


def test_an_override_tells_the_part_of_what_takes_no_part_in_the_pass() -> None:
    net = Net(Residual(conv(8, 8)))
    net(IMAGES)
    net.spare = nn.ConvTranspose2d(4, 8, 3)
    structure = find_structure(net, (IMAGES,), overrides={"spare.*": "branch"})
    assert structure.parts["spare.weight"] == "branch" and "spare.bias" in structure.unknown
    layout = structure.layouts["spare.weight"]
    assert layout is not None and (layout.outputs, layout.inputs, layout.kernel) == ((1,), (0,), (2, 3))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"0.weight": "trnk"}, "'0.weight'.*'trnk'.*'trunk'"),
        ({"0.wight": "trunk"}, "'0.wight'.*'0.weight'"),
        ({"x*": "trunk"}, "'x\\*'.*named_parameters"),
        ({"*.bias": "trunk"}, "'\\*.bias'.*trunk"),
    ],
)
def test_overrides_that_make_no_sense(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_structure(nn.Sequential(nn.Linear(16, 4)), (FEATURES,), overrides=overrides)


ADA = [f"blocks.{i}.ada.1.{kind}" for i in range(3) for kind in ("weight", "bias")]
OTHERS = ["blocks.0.mlp.1.weight", "fada.1.weight", "fada.1.bias", "w.0", "a[0].weight", "a[0].bias", "ab.weight"]


@pytest.mark.parametrize(
    ("wanted", "patterns"),
    [
        (ADA, ("blocks.*.ada.*.*",)),
        (ADA[::2], ("blocks.*.ada.*.weight",)),
        (ADA[2:4], ("blocks.1.ada.1.*",)),
        (["blocks.2.ada.1.weight"], ("blocks.2.ada.1.weight",)),
        ([*ADA, "fada.1.weight", "w.0"], ("blocks.*.ada.*.*", "fada.*.weight", "w.*")),
        (["a[0].weight", "a[0].bias"], ("a[[]0].*",)),
        (["a[0].weight"], ("a[[]0].weight",)),
    ],
)
def test_patterns_match_what_is_wanted_and_nothing_else(wanted: list[str], patterns: tuple[str, ...]) -> None:
    names = [*ADA, *OTHERS]
    assert patterns_for(wanted, names) == patterns
    assert {name for name in names for pattern in patterns if fnmatchcase(name, pattern)} == set(wanted)


def test_inputs_that_the_model_does_not_take() -> None:
    with pytest.raises(UsageError, match="'weight' has no shape"):
        find_structure(nn.LazyLinear(4), (FEATURES,))
    with pytest.raises(UsageError, match="example_inputs .*tuple"):
        find_structure(nn.Linear(4, 4), (FEATURES,))


def test_deep_networks_are_read_in_seconds() -> None:
    with torch.device("meta"):
        model = torchvision.models.resnet152()
    graph = capture(model, (IMAGES,))
    start = time.process_time()
    analysis = classify(graph, Flow(graph), [name for name, _ in model.named_parameters()])
    assert time.process_time() - start < 3
    assert sum(part == "branch_end" for part in analysis.parts.values()) == 50


def test_the_words_are_those_of_the_project() -> None:
    assert PARTS == (
        "stem", "trunk", "branch", "branch_end", "shortcut", "gate", "query", "key", "value", "embedding", "position",
        "recurrent", "norm", "bias", "scale", "head",
    )  # fmt: skip
