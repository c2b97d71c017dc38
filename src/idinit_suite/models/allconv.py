"""AllConv: a network of convolutions alone, without shortcuts (Springenberg et al. 2015, All-CNN-C)."""

from __future__ import annotations

from collections import OrderedDict

from pydantic import PositiveInt
from torch import nn

from ..data.spec import Images
from . import MODELS, ModelInfo
from .sizes import Dropout


@MODELS.register("allconv", ModelInfo(Images))
def allconv(
    spec: Images,
    *,
    width: PositiveInt = 96,
    dropout: Dropout = 0.0,
) -> nn.Module:
    """All-CNN-C (Springenberg et al. 2015, table 1): nine convolutions with biases, no shortcut, no pooling but the last.

    Args:
        spec: The images.
        width: Channels of the first three layers; the next five have twice as many.
        dropout: Share of activations dropped before the two strided layers' successors (0.5 in the publication).

    Returns:
        A module from [N, channels, height, width] to logits [N, spec.num_classes].
    """
    wide = 2 * width
    plan = [  # channels, kernel, stride
        (width, 3, 1),
        (width, 3, 1),
        (width, 3, 2),
        (wide, 3, 1),
        (wide, 3, 1),
        (wide, 3, 2),
        (wide, 3, 1),
        (wide, 1, 1),
    ]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels_in = spec.picture_shape[0]
    for index, (channels, kernel, stride) in enumerate(plan, start=1):
        layers[f"conv{index}"] = nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2)
        layers[f"act{index}"] = nn.ReLU()
        if stride == 2 and dropout:
            layers[f"dropout{index}"] = nn.Dropout(dropout)
        channels_in = channels
    # The publication's ReLU on the class maps is left out: dead class scores would never get a gradient.
    layers[f"conv{len(plan) + 1}"] = nn.Conv2d(channels_in, spec.num_classes, 1)
    layers.update(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten())
    return nn.Sequential(layers)
