"""Other libraries' networks without their normalization layers, small enough to learn digits in seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import timm
import torch
import torchvision
import transformers
from torch import Tensor, nn
from torch.nn import functional as F

METHODS = ("default", "kaiming", "fixup", "rezero", "skipinit", "idinit")
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, torchvision.ops.FrozenBatchNorm2d)


@dataclass(frozen=True)
class Case:
    """A network without normalization, and how it reads digits.

    Attributes:
        build: Makes the network, which gives logits float32 [B, 10].
        read: From pictures float32 [B, 8, 8] in 0..1 to the network's input.
        methods: What it is initialized with.
        change: What is done to it after that.
    """

    build: Callable[[], nn.Module]
    read: Callable[[Tensor], Tensor]
    methods: Sequence[str] = METHODS
    change: Callable[[Any], None] = lambda _model: None


def without_norms(model: nn.Module) -> nn.Module:
    """Replaces every normalization layer by an identity, or by the activation that timm puts into it."""
    for name, module in list(model.named_modules()):
        if isinstance(module, _NORMS):
            parent = model.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], getattr(module, "act", nn.Identity()))
    return model


class Encoder(nn.Module):
    """60 layers of torch's encoder over the rows of a picture, and the mean of what they give."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(8, 32)
        layer = nn.TransformerEncoderLayer(32, 2, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = without_norms(nn.TransformerEncoder(layer, 60, enable_nested_tensor=False))
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits float32 [B, 10] of pictures [B, 8, 8]."""
        return self.head(self.encoder(self.stem(x)).mean(1))


class Bert(nn.Module):
    """transformers' BERT over the 16 grey values of the pixels of every second row and column."""

    def __init__(self) -> None:
        super().__init__()
        config = transformers.BertConfig(
            vocab_size=17, hidden_size=32, num_hidden_layers=12, num_attention_heads=2, intermediate_size=64,
            max_position_embeddings=16, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )  # fmt: skip
        config.num_labels = 10
        self.bert = without_norms(transformers.BertForSequenceClassification(config))

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits float32 [B, 10] of tokens int64 [B, 16]."""
        return self.bert(input_ids=tokens).logits


def _vit(**options: Any) -> nn.Module:
    return without_norms(
        timm.create_model(
            "vit_tiny_patch16_224", img_size=8, patch_size=2, in_chans=1, num_classes=10, depth=24, embed_dim=48, **options
        )
    )


def _timm(name: str, **options: Any) -> nn.Module:
    return without_norms(timm.create_model(name, in_chans=1, num_classes=10, **options))


def _mobilenet() -> nn.Module:
    model = torchvision.models.mobilenet_v2(num_classes=10, width_mult=0.25, dropout=0.0)
    model.features[0][0] = nn.Conv2d(1, model.features[0][0].out_channels, 3, 2, 1, bias=False)
    return without_norms(model)


def _larger_class_token(model: Any) -> None:
    with torch.no_grad():
        model.cls_token.normal_(generator=torch.Generator().manual_seed(0))


def _larger_tokens(model: Any) -> None:
    _larger_class_token(model)
    with torch.no_grad():
        model.pos_embed.normal_(generator=torch.Generator().manual_seed(1))
        model.patch_embed.proj.weight.mul_(10)  # patches come out at about 0.1


def _picture(x: Tensor, size: int = 8) -> Tensor:
    return F.interpolate(x[:, None], (size, size), mode="bilinear")


VIT = "timm's vit_tiny, 24 blocks, width 48"
_SILENT = ("fixup", "rezero", "zero")
CASES = {
    VIT: Case(_vit, _picture, (*METHODS, "zero")),
    f"{VIT}, average pooling": Case(partial(_vit, global_pool="avg", class_token=False), _picture, _SILENT),
    f"{VIT}, class token N(0, 1)": Case(_vit, _picture, _SILENT, _larger_class_token),
    f"{VIT}, all tokens of size one": Case(_vit, _picture, _SILENT, _larger_tokens),
    "torch's TransformerEncoder, 60 layers, width 32": Case(Encoder, lambda x: x),
    "timm's ResNet-50, a quarter of the width": Case(
        partial(_timm, "resnet50", channels=(16, 32, 64, 128)), partial(_picture, size=32)
    ),
    "timm's ConvNeXt, 12 blocks": Case(
        partial(_timm, "convnext_atto", depths=(3, 3, 3, 3), dims=(16, 16, 32, 32), patch_size=2), partial(_picture, size=32)
    ),
    "torchvision's MobileNetV2, a quarter of the width": Case(_mobilenet, partial(_picture, size=32)),
    "transformers' BERT, 12 layers, width 32": Case(Bert, lambda x: (x[:, ::2, ::2] * 16).long().flatten(1)),
}
