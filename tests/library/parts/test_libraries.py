"""Whole networks of torchvision, timm and transformers."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
import transformers
from networks import IMAGES, TOKENS, rows, weights
from torch import Tensor

from idinit.parts import Branch, find_structure


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
    structure = find_structure(timm.create_model("seresnet18", pretrained=False), (IMAGES,))
    assert structure.parts["layer2.0.conv2.weight"] == "branch_end"
    assert structure.parts["layer2.0.se.fc1.weight"] == structure.parts["layer2.0.se.fc2.weight"] == "gate"
    assert structure.parts["layer2.0.downsample.0.weight"] == "shortcut"
    assert len(structure.branches) == 8 and structure.unknown == {}
