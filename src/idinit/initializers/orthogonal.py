"""Orthogonal initialization."""

from __future__ import annotations

from pydantic import PositiveFloat
from torch import nn

from ..network import Network
from . import INITIALIZERS, Method
from .kaiming import BODY


@INITIALIZERS.register("orthogonal", Method(paper="Saxe et al. 2014, arXiv 1312.6120"))
def orthogonal(net: Network, *, gain: PositiveFloat = 2**0.5) -> None:
    """Orthogonal: random weights whose matrix [out, in * positions] has all singular values equal to the gain.

    Args:
        net: The network.
        gain: Singular value; sqrt(2) makes up for the half that a ReLU removes. The head, which no ReLU follows, has 1.
    """
    for weight in net.weights(*BODY):
        net.fill(weight, f"orthogonal, gain {gain:.4g}", lambda w: nn.init.orthogonal_(w, gain, net.generator))
    for weight in net.weights("head"):
        net.fill(weight, "orthogonal", lambda w: nn.init.orthogonal_(w, generator=net.generator))
