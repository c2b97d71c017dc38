"""Zero-gamma: residual branches that start silent because their last normalization does."""

from __future__ import annotations

from ..network import Network
from . import INITIALIZERS, Method
from ._default_rules import neutral
from .kaiming import BODY, default_head, fill_kaiming


@INITIALIZERS.register("zero_gamma", Method(paper="Goyal et al. 2017, arXiv 1706.02677", needs=("branches", "end_norm")))
def zero_gamma(net: Network) -> None:
    """Zero-gamma: Kaiming fan-out, and the last normalization of each residual branch multiplies with 0.

    The head gets torch's default.
    """
    for weight in net.weights(*BODY):
        fill_kaiming(net, weight)
    default_head(net)
    for branch in net.branches:
        _silence(net, f"{branch.end_norm}.weight")


def _silence(net: Network, name: str) -> None:
    one = neutral(net, name)
    value = 0.0 if one is None else one - 1  # a norm may multiply by 1 + w
    net.fill(name, f"{value:g}", lambda w: w.fill_(value), "last norm of its branch")
