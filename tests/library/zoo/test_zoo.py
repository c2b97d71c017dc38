"""Networks by name: built as the library builds them, without weights from anywhere, with inputs they run on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from idinit.errors import UsageError
from idinit.graph.probe import tensors_in
from idinit.zoo import load


def call(model: nn.Module, inputs: Any) -> list[Tensor]:
    with torch.no_grad():
        return tensors_in(model(**inputs) if isinstance(inputs, dict) else model(*inputs))


@pytest.mark.parametrize(
    ("name", "shape", "expected", "output"),
    [
        ("timm:test_resnet", None, (2, 3, 160, 160), (2, 1000)),
        ("timm:test_resnet", (1, 32, 32), (2, 1, 32, 32), (2, 1000)),
        ("timm:test_vit", (3, 64, 64), (2, 3, 64, 64), (2, 1000)),
        ("torchvision:squeezenet1_1", (3, 64, 64), (2, 3, 64, 64), (2, 1000)),
        ("torchvision:mobilenet_v3_small", None, (2, 3, 224, 224), (2, 1000)),
        ("torchvision:lraspp_mobilenet_v3_large", (3, 64, 64), (2, 3, 64, 64), (2, 21, 64, 64)),  # its backbone neither
    ],
)
def test_images(name: str, shape: tuple[int, ...] | None, expected: tuple[int, ...], output: tuple[int, ...]) -> None:
    model, inputs = load(name, shape)
    assert isinstance(inputs, tuple) and [x.shape for x in inputs] == [expected]
    assert call(model.eval(), inputs)[0].shape == output


@pytest.mark.parametrize(
    ("model_type", "main", "shape", "output"),
    [
        ("bert", "input_ids", (2, 16), (2, 16, 256)),
        ("gpt2", "input_ids", (2, 16), (2, 16, 256)),
        ("t5", "decoder_input_ids", (2, 8), (2, 8, 256)),
        ("gpt_neo", "input_ids", (2, 16), (2, 16, 256)),
        ("prophetnet", "decoder_input_ids", (2, 8), (2, 8, 256)),
        ("vit", "pixel_values", (2, 3, 64, 64), (2, 2)),
        ("clip", "pixel_values", (2, 3, 64, 64), (2, 2)),
        ("whisper", "input_features", (2, 80, 3000), (2, 8, 256)),
        ("wav2vec2", "input_values", (2, 6400), (2, 19, 256)),
    ],
)
def test_transformers_from_small_configurations(
    model_type: str, main: str, shape: tuple[int, ...], output: tuple[int, ...]
) -> None:
    model, inputs = load(f"hf:{model_type}")
    assert isinstance(inputs, dict) and inputs[main].shape == shape
    assert sum(parameter.numel() for parameter in model.parameters()) < 5e6
    assert call(model.eval(), inputs)[0].shape == output


def test_the_same_values_each_time_and_the_global_random_state_untouched() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    (one, x), (two, y) = load("timm:test_resnet", (3, 32, 32)), load("timm:test_resnet", (3, 32, 32))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x[0], y[0])  # type: ignore[index]
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


FACTORIES = """
import torch
from torch import nn

def net():
    return nn.Linear(4, 2)

def with_inputs():
    return nn.Linear(4, 2), (torch.ones(3, 4),)

def number():
    return 1
"""


def test_a_python_file(tmp_path: Path) -> None:
    file = tmp_path / "nets.py"
    file.write_text(FACTORIES)
    model, inputs = load(f"{file}:with_inputs")
    assert call(model, inputs)[0].shape == (3, 2)
    model, inputs = load(f"{file}:net", (4,))
    assert call(model, inputs)[0].shape == (2, 2)
    for name, message in {
        "net": "--input",
        "nett": "'nett'.*'net'",
        "number": "returns int",
    }.items():
        with pytest.raises(UsageError, match=message):
            load(f"{file}:{name}")
    with pytest.raises(UsageError, match="'nowhere.py'"):
        load("nowhere.py:net")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet50", "'resnet50'.*FILE.py:FACTORY, hf:MODEL_TYPE, timm:NAME"),
        ("timm:", "'timm:'.*'timm:NAME'"),
        ("timm:resnet500", "'resnet500'.*'resnet50'"),
        ("torchvision:vgg12", "'vgg12'.*'vgg1"),
        ("hf:bret", "'bret'.*'bert'"),
        ("timm:zzzzzzzzzzzz", "'zzzzzzzzzzzz'.*timm.list_models"),
    ],
)
def test_names_that_are_none(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(name)


def test_a_shape_that_the_network_cannot_have() -> None:
    with pytest.raises(UsageError, match="'test_vit'"):
        load("timm:test_vit", (3, -64, 64))
