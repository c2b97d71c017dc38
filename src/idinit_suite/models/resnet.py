"""ResNets for 32x32 images (He et al. 2016, section 4.2), with and without BatchNorm.

Three stages of 16, 32 and 64 channels, n basic blocks each, depth 6n + 2. The residual sum is
``activation(shortcut(x) + branch(x))``; ReZero's published form keeps the last activation inside the branch instead.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Annotated, Literal

from pydantic import AfterValidator, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.spec import Images
from . import MODELS, ModelInfo

Norm = Literal["none", "batch"]


def _is_resnet_depth(depth: int) -> int:
    if depth < 8 or (depth - 2) % 6:
        raise ValueError("the depth of a CIFAR ResNet is 6n + 2: 8, 14, 20, 32, 44, 56, 110, 1202, ...")
    return depth


def _norm(kind: Norm, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.Identity()


class ZeroPadShortcut(nn.Module):
    """Option A of He et al.: every second pixel, and zeros for the channels that are new. Has no parameters."""

    def __init__(self, new_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels = new_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C + new_channels, H / stride, W / stride]."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut: [N, in, H, W] -> [N, out, H / stride, W / stride]."""

    def __init__(
        self,
        channels_in: int,
        channels: int,
        stride: int,
        norm: Norm,
        shortcut: Literal["pad", "projection"],
        last_activation: Literal["sum", "branch"],
    ) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False),
            norm1=_norm(norm, channels),
            act1=nn.ReLU(),
            conv2=nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            norm2=_norm(norm, channels),
        )
        if last_activation == "branch":
            layers["act2"] = nn.ReLU()
        self.branch = nn.Sequential(layers)
        self.shortcut: nn.Module = nn.Identity()
        if channels_in != channels or stride != 1:
            if shortcut == "pad":
                self.shortcut = ZeroPadShortcut(channels - channels_in, stride)
            else:
                projection = nn.Conv2d(channels_in, channels, 1, stride, bias=False)
                self.shortcut = nn.Sequential(OrderedDict(conv=projection, norm=_norm(norm, channels)))
        self.act: nn.Module = nn.ReLU() if last_activation == "sum" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Adds the branch to the shortcut."""
        return self.act(self.shortcut(x) + self.branch(x))


@MODELS.register("resnet", ModelInfo(Images))
def resnet(
    spec: Images,
    *,
    depth: Annotated[int, AfterValidator(_is_resnet_depth)] = 56,
    width: PositiveInt = 16,
    norm: Norm = "none",
    shortcut: Literal["pad", "projection"] = "pad",
    last_activation: Literal["sum", "branch"] = "sum",
) -> nn.Module:
    """ResNet for 32x32 images (He et al. 2016, section 4.2), BatchNorm optional.

    Args:
        spec: The images.
        depth: Number of weight layers, 6n + 2.
        width: Channels of the first stage; doubled at each of the other two.
        norm: ``batch`` after every convolution, or ``none``.
        shortcut: Where the shape changes: ``pad`` (option A, no parameters) or ``projection`` (option B, 1x1 convolution).
        last_activation: A block's last ReLU: after the ``sum`` (He et al.), or at the end of the ``branch`` with none after
            the sum (Bachlechner et al. 2021, ReZero).

    Returns:
        A module from [N, channels, height, width] to logits [N, spec.num_classes].
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        stem=nn.Conv2d(spec.picture_shape[0], width, 3, 1, 1, bias=False),
        norm=_norm(norm, width),
        act=nn.ReLU(),
    )
    channels_in = width
    for stage in range(3):
        channels = width * 2**stage
        blocks = []
        for index in range((depth - 2) // 6):
            stride = 2 if stage > 0 and index == 0 else 1
            blocks.append(BasicBlock(channels_in, channels, stride, norm, shortcut, last_activation))
            channels_in = channels
        layers[f"stage{stage + 1}"] = nn.Sequential(*blocks)
    layers.update(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), head=nn.Linear(channels_in, spec.num_classes))
    return nn.Sequential(layers)
