"""Example inputs are left out where the model tells what it takes, and a batch of a data loader is taken as it is."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
import transformers
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import idinit
from idinit.errors import UsageError
from idinit.graph.own_inputs import inputs_of
from idinit.zoo import load

TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda: timm.create_model("test_resnet"), (3, 160, 160)),
        (lambda: timm.create_model("test_resnet", in_chans=1), (1, 160, 160)),
        (lambda: timm.create_model("test_vit", img_size=64), (3, 64, 64)),
        (lambda: timm.create_model("coat_tiny", img_size=64), (3, 64, 64)),
        (lambda: timm.create_model("tresnet_m"), (3, 224, 224)),  # its first convolution reads patches
        (lambda: torchvision.models.squeezenet1_1(weights=None), (3, 224, 224)),
        (lambda: torchvision.models.VisionTransformer(32, 16, 1, 2, 16, 32), (3, 32, 32)),
        (
            lambda: transformers.ViTForImageClassification(transformers.ViTConfig(image_size=32, num_channels=1, **TINY)),
            (1, 32, 32),
        ),
    ],
)
def test_a_model_of_images_tells_their_shape(build, shape: tuple[int, ...]) -> None:
    model = build().eval()
    inputs = inputs_of(model, None)
    (images,) = inputs.values() if isinstance(inputs, dict) else inputs
    assert images.shape[1:] == shape
    model(**inputs) if isinstance(inputs, dict) else model(*inputs)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("clip", {"pixel_values"}),
        ("pegasus", {"input_ids", "decoder_input_ids"}),
        ("switch_transformers", {"input_ids", "decoder_input_ids"}),
        ("wav2vec2", {"input_values"}),
        ("whisper", {"input_features", "decoder_input_ids"}),
    ],
)
def test_a_network_of_transformers_tells_what_it_takes(kind: str, names: set[str]) -> None:
    model = load(f"hf:{kind}")[0].eval()
    inputs = inputs_of(model, None)
    assert inputs.keys() == names
    model(**inputs)


def test_a_network_of_texts_and_images_takes_both() -> None:
    model = transformers.CLIPModel(load("hf:clip")[0].config).eval()
    inputs = inputs_of(model, None)
    assert inputs.keys() == {"input_ids", "pixel_values"}
    model(**inputs)


def test_methods_and_measures_do_without_inputs() -> None:
    model = transformers.BertForMaskedLM(transformers.BertConfig(vocab_size=32, **TINY))
    given = idinit.initialize_(model, "idinit", dict(model.dummy_inputs))
    left_out = idinit.initialize_(model, "idinit")
    assert given.rows == left_out.rows
    assert idinit.find_parts(model) == idinit.find_parts(model, dict(model.dummy_inputs))
    assert idinit.check_zeros(model).violations == () and not idinit.examine(model).findings


def test_what_tells_nothing_of_itself_needs_inputs() -> None:
    with pytest.raises(UsageError, match="Sequential .*example_inputs"):
        idinit.initialize_(nn.Sequential(nn.Linear(2, 2)), "xavier")


class Masked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        return self.layer(x if mask is None else x * mask)


@pytest.mark.parametrize("model", [Masked(), nn.Sequential(nn.Linear(4, 2))])
def test_the_labels_of_a_batch_are_left_out(model: nn.Module) -> None:
    batch = next(iter(DataLoader(TensorDataset(torch.randn(6, 4), torch.arange(6)), batch_size=3)))
    assert isinstance(batch, list) and len(batch) == 2
    assert set(idinit.find_parts(model, batch).values()) == {"head", "bias"}
