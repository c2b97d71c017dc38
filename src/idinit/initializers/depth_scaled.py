"""Scaling by depth: each residual branch starts the smaller the deeper it is."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveFloat

from ..network import Network
from . import INITIALIZERS, Method
from ._layers import branch_depths
from .gpt2 import fill_normal


@INITIALIZERS.register(
    "depth_scaled",
    Method(
        paper="training code of torchtitan and OLMo, after Zhang, Titov & Sennrich 2019, arXiv 1908.11365",
        needs=("branches",),
        pitfalls=("The divisor is applied to the gate, or to queries, keys and values, and not to the last weights alone.",),
    ),
)
def depth_scaled(net: Network, *, std: PositiveFloat | Literal["fan_in"] = 0.02) -> None:
    """Depth-scaled: normal weights of standard deviation 0.02, that of a branch's last weight over sqrt(branches so far).

    The last weights of a Transformer's layer l, from 0, with two branches each, are divided by sqrt(2 (l + 1)), as current
    training code of language models does; nothing else depends on depth: neither queries, keys and values nor the gate of a
    feed-forward layer. A decoder that attends to an encoder counts its own branches, as does each tower of a model with
    several side by side, such as CLIP. Embeddings follow the shared rules.

    Args:
        net: The network.
        std: Standard deviation of the weights; ``fan_in`` is 1/sqrt(fan-in) of each, as in OLMo's "Mitchell", which cuts
            its normal at three standard deviations.
    """
    depths = branch_depths(net.structure)
    for weight in net.weights():
        size = weight.shape[1:].numel() ** -0.5 if std == "fan_in" else std
        if weight.branch and weight.part == "branch_end":
            size *= depths[weight.branch] ** -0.5
        fill_normal(net, weight, size)
