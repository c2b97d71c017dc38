from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from idinit import initialize_
from idinit.errors import UsageError
from idinit_suite.data import Images, Sentences, Spec
from idinit_suite.models import MODELS, build_model

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
PICTURES = Images((3, 32, 32), 5)
GREY = Images((1, 40, 40), 3)
WORDS = Sentences(30, 12, 0, 4, torch.zeros(30, 8))


def inputs_of(spec: Spec) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(2, *spec.shape) if isinstance(spec, Images) else torch.tensor([[1, 2, 3, 0], [4, 5, 6, 7]])


def make(library: str, spec: Spec, **options: Any) -> nn.Module:
    return build_model(library, spec, (inputs_of(spec),), MODELS.check(library, options))


@pytest.mark.parametrize(
    ("library", "spec", "options"),
    [
        ("timm", PICTURES, {"name": "resnet10t"}),
        ("timm", GREY, {"name": "resnet10t", "options": {"drop_rate": 0.1}}),
        ("timm", Images((3, 48, 48), 5), {"name": "vit_tiny_patch16_224", "options": {"depth": 1}}),
        ("torchvision", PICTURES, {"name": "resnet18"}),
        ("torchvision", Images((3, 75, 75), 5), {"name": "googlenet"}),
        ("hf", GREY, {"name": "vit", "options": {**SMALL, "patch_size": 8}}),
        ("hf", WORDS, {"name": "bert", "options": SMALL}),
        ("hf", WORDS, {"name": "gpt2", "options": {"n_embd": 16, "n_layer": 1, "n_head": 2}}),
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else None,
)
def test_networks_are_built_for_the_data_and_can_be_initialized(library: str, spec: Spec, options: dict[str, Any]) -> None:
    model, inputs = make(library, spec, **options), inputs_of(spec)
    initialize_(model, "idinit", example_inputs=(inputs,))
    assert model.training
    logits = model(inputs)
    assert logits.shape == (2, spec.num_classes) and logits.isfinite().all()  # type: ignore[union-attr]


def test_a_vit_of_torchvision_has_the_size_of_the_images() -> None:
    with torch.device("meta"):
        model = MODELS["torchvision"].build(Images((3, 64, 64), 5), name="vit_b_32")
        assert model(torch.empty(2, 3, 64, 64)).shape == (2, 5)


def test_padding_is_not_seen_by_a_classifier_of_texts() -> None:
    model = make("hf", WORDS, name="bert", options=SMALL).eval()
    longer = torch.tensor([[1, 2, 3, 0, 0, 0]])
    assert torch.allclose(model(longer), model(longer[:, :3]), atol=1e-6)


@pytest.mark.parametrize(
    ("library", "spec", "options", "problem"),
    [
        ("timm", PICTURES, {"name": "resnet5"}, "timm.*'resnet5'.*'resnet50'"),
        ("torchvision", PICTURES, {"name": "resnet19"}, "torchvision.*'resnet19'.*'resnet1"),
        ("torchvision", GREY, {"name": "resnet18"}, "torchvision.* 3 channels"),
        ("hf", WORDS, {"name": "bertt"}, "transformers.*'bertt'.*'bert'"),
        ("hf", PICTURES, {"name": "bert"}, "transformers.*'bert'.*images"),
        ("hf", WORDS, {"name": "vit"}, "transformers.*'vit'.*texts"),
        ("timm", PICTURES, {"name": "resnet10t", "options": {"no_such": 1}}, "'resnet10t'.*no_such"),
        ("timm", PICTURES, {"name": "resnet10t", "options": {"checkpoint_path": "/none"}}, "FileNotFoundError"),
        ("timm", PICTURES, {"name": "resnet10t", "options": {"pretrained": True}}, "'pretrained'"),
        ("timm", PICTURES, {"name": "resnet10t", "options": {"num_classes": 3}}, r"\(2, 3\).*\(2, 5\)"),
        ("torchvision", PICTURES, {"name": "resnet18", "options": {"num_classes": 3}}, r"\(2, 3\).*\(2, 5\)"),
        ("torchvision", PICTURES, {"name": "lraspp_mobilenet_v3_large"}, "'torchvision'.*tensor of logits"),
        ("hf", PICTURES, {"name": "vit", "options": {**SMALL, "num_labels": 3}}, r"\(2, 3\).*\(2, 5\)"),
        ("hf", WORDS, {"name": "bert", "options": {"num_hiden_layers": 1}}, "'num_hiden_layers'.*'num_hidden_layers'"),
        ("timm", WORDS, {"name": "resnet10t"}, "'timm'.*sentences"),
        ("torchvision", Images((3, 8, 8), 5), {"name": "alexnet"}, "'torchvision'.*shape"),
    ],
)
def test_what_cannot_be_is_told(library: str, spec: Spec, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem) as caught:
        make(library, spec, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["allconv", "hf", "mixer", "resnet", "vit"])
@pytest.mark.parametrize("shape", [(10,), (3, 4, 8, 8)])
def test_a_model_of_pictures_refuses_other_shapes(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="channels, height, width"):
        make(name, Images(shape, 2), **({"name": "vit"} if name == "hf" else {}))


MINE = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, num_classes, channels, width=4):
        super().__init__(nn.Conv2d(channels, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes))

def factory(spec):
    return Net(spec.num_classes, spec.shape[0])

class Raises(nn.Linear):
    def __init__(self):
        super().__init__(1, 1)

    def forward(self, x):
        return {}["mask"]

def words(vocabulary, num_classes, padding):
    return nn.EmbeddingBag(vocabulary, num_classes, padding_idx=padding)

def wrong(num_classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes + 1))

made = nn.Linear(1, 1)

def frozen(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, num_classes)).requires_grad_(False)

def no_module():
    return 3

def needs_more(num_classes, depth):
    return 3
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_nets.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("my_nets", None)


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize(
    ("target", "spec", "options"),
    [("Net", GREY, {}), ("Net", GREY, {"width": 6}), ("factory", PICTURES, {}), ("words", WORDS, {})],
)
def test_modules_of_ones_own(target: str, spec: Spec, options: dict[str, Any]) -> None:
    model = make("python", spec, target=f"my_nets:{target}", options=options)
    assert model(inputs_of(spec)).shape == (2, spec.num_classes)  # type: ignore[union-attr]
    if options:
        assert model[0].out_channels == 6


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("Nett", "'Nett'.*'Net'"),
        ("no_module", " int"),
        ("made", "Linear.*function or a class"),
        ("needs_more", r"'depth'.*\+model\.options\.depth="),
        ("wrong", r"\(2, 6\).*\(2, 5\)"),
        ("frozen", "requires_grad"),
        ("Raises", r"\(2, 3, 32, 32\): KeyError: 'mask'"),
    ],
)
def test_bad_modules_of_ones_own_are_told(target: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        make("python", PICTURES, target=f"my_nets:{target}")
