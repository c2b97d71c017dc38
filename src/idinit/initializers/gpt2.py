"""The initialization of GPT-2."""

from __future__ import annotations

from pydantic import PositiveFloat

from ..network import Network, Weight
from . import INITIALIZERS, Method


@INITIALIZERS.register("gpt2", Method(paper="Radford et al. 2019, OpenAI technical report"))
def gpt2(net: Network, *, std: PositiveFloat = 0.02) -> None:
    """GPT-2: normal weights of standard deviation 0.02, that of each branch's last weight divided by sqrt(branches).

    A layer of GPT-2 has two branches, so the divisor is sqrt(2 * layers). Embeddings have the same standard deviation.

    Args:
        net: The network.
        std: Standard deviation of the weights.
    """
    end = std * max(1, len(net.branches)) ** -0.5
    for weight in net.weights():
        fill_normal(net, weight, end if weight.part == "branch_end" else std)


def fill_normal(net: Network, weight: Weight, std: float) -> None:
    """Fills one weight with a normal of mean 0."""
    net.fill(weight, f"N(0, {std:.4g})", lambda w: w.normal_(0, std, generator=net.generator))
