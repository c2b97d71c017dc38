"""LeCun initialization."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

from ..init import truncated_normal_
from ..network import Network
from . import INITIALIZERS, Method


@INITIALIZERS.register(
    "lecun",
    Method(
        paper="LeCun et al. 1998, Efficient BackProp",
        pitfalls=(
            "The truncated normal is not widened again, so that its variance is 23 % too small.",
            "The bounds are in absolute units, as in torch's `trunc_normal_`, and truncate nothing at small deviations.",
        ),
    ),
)
def lecun(net: Network, *, distribution: Literal["truncated", "normal", "uniform"] = "truncated") -> None:
    """LeCun: zero-mean weights of variance 1 / fan-in, on every linear map.

    The truncated normal is cut at two standard deviations and widened, so that 1 / fan-in is the variance of what is left,
    as in JAX and Flax.

    Args:
        net: The network.
        distribution: Shape of the distribution.
    """

    def fill(w: Tensor) -> None:
        std = w[0].numel() ** -0.5
        match distribution:
            case "truncated":
                truncated_normal_(w, std, generator=net.generator)
            case "normal":
                w.normal_(0, std, generator=net.generator)
            case "uniform":
                w.uniform_(-math.sqrt(3) * std, math.sqrt(3) * std, generator=net.generator)

    for weight in net.weights():
        net.fill(weight, f"LeCun {distribution}", fill)
