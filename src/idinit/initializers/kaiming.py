"""Kaiming (He) initialization, and the pieces of it that other methods build on."""

from __future__ import annotations

from typing import Literal

from torch import nn

from ..network import Network, Weight
from ..parts.structure import MAPS
from . import INITIALIZERS, Method

Mode = Literal["fan_in", "fan_out"]
Distribution = Literal["normal", "uniform"]
BODY = tuple(part for part in MAPS if part != "head")


@INITIALIZERS.register("kaiming", Method(paper="He et al. 2015, arXiv 1502.01852"))
def kaiming(net: Network, *, mode: Mode = "fan_out", distribution: Distribution = "normal") -> None:
    """Kaiming: zero-mean weights of variance 2 / fan, which keeps the signal's size through ReLUs.

    The head, which no ReLU follows, gets torch's default, as in torchvision's ResNets.

    Args:
        net: The network.
        mode: ``fan_in`` keeps the size of activations, ``fan_out`` that of gradients. By fan-out, a layer of far fewer outputs
            than inputs scales the signal up: a gate of one output and 128 inputs by 16, by fan-in by 1.4.
        distribution: Shape of the distribution.
    """
    for weight in net.weights(*BODY):
        fill_kaiming(net, weight, mode, distribution=distribution)
    default_head(net)


def fill_kaiming(
    net: Network,
    weight: Weight,
    mode: Mode = "fan_out",
    factor: float = 1.0,
    note: str = "",
    distribution: Distribution = "normal",
) -> None:
    """Fills one weight with the Kaiming initialization, times a factor."""
    init = nn.init.kaiming_normal_ if distribution == "normal" else nn.init.kaiming_uniform_
    rule = f"Kaiming {distribution}, {mode.replace('_', '-')}" + (f", x {factor:.4g}" if factor != 1 else "")
    net.fill(weight, rule, lambda w: init(w, mode=mode, nonlinearity="relu", generator=net.generator).mul_(factor), note)


def default_head(net: Network) -> None:
    """Gives the head torch's default."""
    for weight in net.weights("head"):
        net.fill_default(weight)
