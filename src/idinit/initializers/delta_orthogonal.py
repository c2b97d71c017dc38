"""Delta-orthogonal initialization."""

from __future__ import annotations

from pydantic import PositiveFloat
from torch import nn

from ..errors import UsageError
from ..init import delta_orthogonal_
from ..network import Network
from . import INITIALIZERS, Method


@INITIALIZERS.register(
    "delta_orthogonal",
    Method(paper="Xiao et al. 2018, arXiv 1806.05393", pitfalls=("The gain is applied as its square root.",)),
)
def delta_orthogonal(net: Network, *, gain: PositiveFloat = 1.0) -> None:
    """Delta-orthogonal: a random orthogonal matrix on the centre tap of each kernel, zeros around it.

    Weights of one position (matrices, 1x1 convolutions) are orthogonal, whatever their shape.

    Args:
        net: The network.
        gain: Factor on the matrix; 1 is the publication's, whose theory is for tanh.

    Raises:
        UsageError: If a larger kernel has more inputs than outputs: it cannot keep the norm of its input.
    """
    weights = net.weights()
    for weight in weights:
        out, inputs, *kernel = weight.shape
        if set(kernel) - {1} and inputs > out:
            raise UsageError(
                f"initializer 'delta_orthogonal': '{weight.name}' ({weight.part}) has {inputs} inputs and {out} "
                "outputs, it needs inputs <= outputs; use 'orthogonal', or convolutions that do not narrow"
            )
    scale = f", gain {gain:.4g}" if gain != 1 else ""
    for weight in weights:
        if set(weight.shape[2:]) - {1}:
            rule = f"orthogonal on the centre tap{scale}"
            net.fill(weight, rule, lambda w: delta_orthogonal_(w, gain, net.generator))
        else:
            net.fill(weight, f"orthogonal{scale}", lambda w: nn.init.orthogonal_(w, gain, net.generator))
