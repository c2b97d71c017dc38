"""Zero-gamma: residual branches that start silent because their last normalization does."""

from __future__ import annotations

from torch import nn

from ..network import Network
from . import INITIALIZERS
from .kaiming import BODY, default_head, fill_kaiming


@INITIALIZERS.register(
    "zero_gamma", paper="Goyal et al. 2017, arXiv 1706.02677", claims=("C2",), needs=("branches", "end_norm")
)
def zero_gamma(net: Network) -> None:
    """Zero-gamma: Kaiming fan-out, and the scale of the last normalization of each residual branch is 0.

    The head gets torch's default.
    """
    for weight in net.weights(*BODY):
        fill_kaiming(net, weight)
    default_head(net)
    for branch in net.branches:
        net.fill(f"{branch.end_norm}.weight", "0", nn.init.zeros_, "last norm of its branch")
