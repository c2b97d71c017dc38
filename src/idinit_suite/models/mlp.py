"""Multilayer perceptrons, plain and residual, of any depth."""

from __future__ import annotations

from collections import OrderedDict
from math import prod
from typing import Annotated, Literal

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from ..data.spec import Images
from . import MODELS, ModelInfo

Activation = Literal["relu", "tanh", "gelu", "silu", "identity"]
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "identity": nn.Identity,
}


class ResidualLayers(nn.Module):
    """x + W2 act(W1 x + b1) + b2 on vectors: [N, width] -> [N, width]."""

    def __init__(self, width: int, activation: Activation, bias: bool) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            OrderedDict(
                linear1=nn.Linear(width, width, bias=bias),
                act1=ACTIVATIONS[activation](),
                linear2=nn.Linear(width, width, bias=bias),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Adds the branch to its input."""
        return x + self.branch(x)


@MODELS.register("mlp", ModelInfo(Images))
def mlp(
    spec: Images,
    *,
    depth: Annotated[int, Field(ge=2)] = 4,
    width: PositiveInt = 256,
    activation: Activation = "relu",
    bias: bool = True,
) -> nn.Module:
    """Plain multilayer perceptron: ``depth`` linear layers with an activation between.

    Args:
        spec: The images; flattened.
        depth: Number of linear layers, the first and the last included.
        width: Hidden units of a layer.
        activation: Nonlinearity between layers.
        bias: Whether the linear layers have biases.

    Returns:
        A module from [N, *spec.shape] to logits [N, spec.num_classes].
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    width_in = prod(spec.shape)
    for index in range(1, depth):
        layers[f"linear{index}"] = nn.Linear(width_in, width, bias=bias)
        layers[f"act{index}"] = ACTIVATIONS[activation]()
        width_in = width
    layers["head"] = nn.Linear(width_in, spec.num_classes, bias=bias)
    return nn.Sequential(layers)


@MODELS.register("residual_mlp", ModelInfo(Images))
def residual_mlp(
    spec: Images,
    *,
    blocks: Annotated[int, Field(ge=1)] = 4,
    width: PositiveInt = 256,
    activation: Activation = "relu",
    bias: bool = True,
) -> nn.Module:
    """Residual multilayer perceptron: a stem, ``blocks`` residual branches of two layers each, and a head.

    Args:
        spec: The images; flattened.
        blocks: Number of residual branches.
        width: Units of the main path and of the branches.
        activation: Nonlinearity after the stem and inside each branch.
        bias: Whether the linear layers have biases.

    Returns:
        A module from [N, *spec.shape] to logits [N, spec.num_classes].
    """
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            stem=nn.Linear(prod(spec.shape), width, bias=bias),
            act=ACTIVATIONS[activation](),
            blocks=nn.Sequential(*(ResidualLayers(width, activation, bias) for _ in range(blocks))),
            head=nn.Linear(width, spec.num_classes, bias=bias),
        )
    )
