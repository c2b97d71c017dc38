"""Ordinary networks that tests of several folders initialize: [N, *shape] -> [N, classes]."""

from __future__ import annotations

from collections import OrderedDict
from math import prod

from torch import Tensor, nn
from torch.nn import functional as F


class Residual(nn.Module):
    """act(shortcut(x) + branch(x))."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module, act: nn.Module) -> None:
        super().__init__()
        self.branch, self.shortcut, self.act = branch, shortcut, act

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.shortcut(x) + self.branch(x))


class Pad(nn.Module):
    """Every second pixel, and zeros for new channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.channels))


def resnet(
    shape: tuple[int, ...],
    classes: int,
    *,
    depth: int = 8,
    width: int = 4,
    norm: str = "none",
    shortcut: str = "pad",
    last_activation: str = "sum",
) -> nn.Module:
    """The ResNet for small images: three stages of (depth - 2) / 6 blocks of two convolutions."""

    def normed(channels: int) -> nn.Module:
        return nn.BatchNorm2d(channels) if norm == "batch" else nn.Identity()

    def block(before: int, after: int, stride: int) -> nn.Module:
        branch = OrderedDict[str, nn.Module](
            conv1=nn.Conv2d(before, after, 3, stride, 1, bias=False),
            norm1=normed(after),
            act1=nn.ReLU(),
            conv2=nn.Conv2d(after, after, 3, 1, 1, bias=False),
            norm2=normed(after),
        )
        if last_activation == "branch":
            branch["act2"] = nn.ReLU()
        side: nn.Module = nn.Identity()
        if stride == 2 and shortcut == "pad":
            side = Pad(after - before)
        elif stride == 2:
            side = nn.Sequential(OrderedDict(conv=nn.Conv2d(before, after, 1, 2, bias=False), norm=normed(after)))
        return Residual(nn.Sequential(branch), side, nn.ReLU() if last_activation == "sum" else nn.Identity())

    layers = OrderedDict[str, nn.Module](
        stem=nn.Conv2d(shape[0], width, 3, 1, 1, bias=False), norm=normed(width), act=nn.ReLU()
    )
    before = width
    for stage in range(3):
        blocks = []
        for index in range((depth - 2) // 6):
            after = width * 2**stage
            blocks.append(block(before, after, 2 if stage and not index else 1))
            before = after
        layers[f"stage{stage + 1}"] = nn.Sequential(*blocks)
    layers |= {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "head": nn.Linear(before, classes)}
    return nn.Sequential(layers)


def residual_mlp(shape: tuple[int, ...], classes: int, *, blocks: int, width: int) -> nn.Module:
    """A stem, residual branches of two linear layers, a head."""

    def block() -> nn.Module:
        layers = OrderedDict(linear1=nn.Linear(width, width), act1=nn.ReLU(), linear2=nn.Linear(width, width))
        return Residual(nn.Sequential(layers), nn.Identity(), nn.Identity())

    layers = OrderedDict[str, nn.Module](flatten=nn.Flatten(), stem=nn.Linear(prod(shape), width), act=nn.ReLU())
    layers |= {"blocks": nn.Sequential(*(block() for _ in range(blocks))), "head": nn.Linear(width, classes)}
    return nn.Sequential(layers)


def mlp(shape: tuple[int, ...], classes: int, *, depth: int, width: int) -> nn.Module:
    """Linear layers with ReLUs between."""
    layers = OrderedDict[str, nn.Module](flatten=nn.Flatten())
    for index in range(1, depth):
        layers |= {f"linear{index}": nn.Linear(prod(shape) if index == 1 else width, width), f"act{index}": nn.ReLU()}
    layers["head"] = nn.Linear(width, classes)
    return nn.Sequential(layers)


def convolutions(shape: tuple[int, ...], classes: int, *, width: int) -> nn.Module:
    """Nine convolutions without a shortcut, two of them strided, the last two of one pixel."""
    layers = OrderedDict[str, nn.Module]()
    before = shape[0]
    for index in range(1, 9):
        after, kernel = width if index < 4 else 2 * width, 1 if index == 8 else 3
        layers[f"conv{index}"] = nn.Conv2d(before, after, kernel, 2 if index in (3, 6) else 1, kernel // 2)
        layers[f"act{index}"] = nn.ReLU()
        before = after
    layers |= {"conv9": nn.Conv2d(before, classes, 1), "pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    return nn.Sequential(layers)
