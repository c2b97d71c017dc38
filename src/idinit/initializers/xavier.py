"""Xavier (Glorot) initialization."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveFloat
from torch import nn

from ..network import Network, Weight
from . import INITIALIZERS, Method

Distribution = Literal["normal", "uniform"]


@INITIALIZERS.register("xavier", Method(paper="Glorot & Bengio 2010, AISTATS"))
def xavier(
    net: Network,
    *,
    distribution: Distribution = "uniform",
    gain: PositiveFloat = 1.0,
) -> None:
    """Xavier: zero-mean weights of variance 2 gain^2 / (fan-in + fan-out), on every linear map.

    Args:
        net: The network.
        distribution: Shape of the distribution; the publication's is uniform.
        gain: Factor on the standard deviation.
    """
    for weight in net.weights():
        fill_xavier(net, weight, gain, distribution)


def fill_xavier(net: Network, weight: Weight, gain: float = 1.0, distribution: Distribution = "uniform") -> None:
    """Fills one weight with the Xavier initialization."""
    init = nn.init.xavier_normal_ if distribution == "normal" else nn.init.xavier_uniform_
    rule = f"Xavier {distribution}" + (f", gain {gain:.4g}" if gain != 1 else "")
    net.fill(weight, rule, lambda w: init(w, gain=gain, generator=net.generator))
