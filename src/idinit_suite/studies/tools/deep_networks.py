"""Networks of any depth, whose layers are all of one size, to be measured before training."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Generator, Tensor, nn

from ...models.mlp import ACTIVATIONS, ResidualLayers
from ...models.resnet import BasicBlock

NetworkName = Literal["mlp", "residual_mlp", "allconv", "resnet", "pre_norm", "post_norm"]
Activation = Literal["relu", "tanh", "gelu", "silu"]
Signs = Literal["positive", "both", "rectified"]  # of an input: as pixels are, as drawn, and as a ReLU leaves the latter

WIDTH = 32  # units of a perceptron, or of a token
CHANNELS, SIDE = 8, 4  # of an image
TOKENS, HEADS = 4, 2
LAYERS = {"mlp": 1, "residual_mlp": 2, "allconv": 1, "resnet": 2, "pre_norm": 4, "post_norm": 4}  # in depth, of a block


class Deep(nn.Module):
    """A stem, blocks of one kind and a head; input, every block's output and the output have one shape.

    Args:
        name: The kind.
        depth: Weight layers that a signal passes in the blocks; rounded to whole blocks.
        activation: Nonlinearity, of the stem as well; norms and attention have none.
    """

    def __init__(self, name: NetworkName, depth: int, activation: Activation) -> None:
        super().__init__()
        blocks = [_block(name, activation) for _ in range(max(1, depth // LAYERS[name]))]
        self.stem = nn.Sequential(_layer(name), ACTIVATIONS[activation]())
        self.blocks = nn.Sequential(*blocks)
        self.head = _layer(name)
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        """[N, ...] -> [N, ...], through the head."""
        return self.head(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        """The input of the head, of the same shape as ``x``."""
        return self.blocks(self.stem(x))

    def example(self, generator: Generator, signs: Signs = "positive") -> Tensor:
        """One input from a standard normal, [1, ...] in float64: its absolute value, itself, or its positive part."""
        images = self.name in ("allconv", "resnet")
        shape = (CHANNELS, SIDE, SIDE) if images else (WIDTH,) if "mlp" in self.name else (TOKENS, WIDTH // 2)
        x = torch.randn(1, *shape, generator=generator, dtype=torch.float64)
        return {"positive": x.abs(), "both": x, "rectified": x.relu()}[signs]


def _layer(name: NetworkName) -> nn.Module:
    if name in ("allconv", "resnet"):
        return nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)
    width = WIDTH if "mlp" in name else WIDTH // 2
    return nn.Linear(width, width, bias=False)


def _block(name: NetworkName, activation: Activation) -> nn.Module:
    match name:
        case "residual_mlp":
            block: nn.Module = ResidualLayers(WIDTH, activation, bias=False)
        case "resnet":
            block = BasicBlock(CHANNELS, CHANNELS, 1, "none", "pad", "sum")
            block.branch.act1 = ACTIVATIONS[activation]()
            block.act = ACTIVATIONS[activation]()
        case "pre_norm" | "post_norm":
            block = nn.TransformerEncoderLayer(
                WIDTH // 2,
                HEADS,
                WIDTH,
                dropout=0.0,
                activation=ACTIVATIONS[activation](),
                batch_first=True,
                norm_first=name == "pre_norm",
            )
        case _:
            block = nn.Sequential(_layer(name), ACTIVATIONS[activation]())
    return block
