"""ZerO: a deterministic initialization from zeros and ones."""

from __future__ import annotations

from torch import nn

from ..init import HadamardScale, hadamard_, identity_
from ..network import Network
from . import INITIALIZERS, Method
from ._default_rules import open_branches


@INITIALIZERS.register(
    "zero",
    Method(
        paper="Zhao et al. 2022, arXiv 2110.12661",
        pitfalls=("The authors' notebook has linear layers only; its Hadamard matrices are smaller than printed by sqrt(2).",),
    ),
)
def zero(net: Network, *, hadamard_scale: HadamardScale = "orthonormal") -> None:
    """ZerO: partial identities, Hadamard matrices where a layer widens, zeros at the end of residual branches.

    A convolution holds its matrix on the centre tap (Algorithm 2). Shortcut projections follow the same rule as every
    other layer: identity where the width stays, Hadamard where it grows. Biases are 0. Nothing is random, but for the first
    factor of a product ``a(x) * b(x)``: its layer is torch's default, since it would stay a copy of the other one (ours).

    Args:
        net: The network.
        hadamard_scale: ``orthonormal`` as in the authors' notebook; ``paper`` as Algorithm 1 prints it, sqrt(2) larger.
    """
    for weight in net.weights():
        out, inputs = weight.shape[:2]
        if weight.part == "gate" and weight.name in net.structure.bilinear:
            net.fill_default(weight, "ours: factors of a product that are equal would stay equal")
        elif weight.part == "branch_end":
            net.fill(weight, "0", nn.init.zeros_)
        elif out > inputs:
            net.fill(weight, f"Hadamard, {hadamard_scale}", lambda w: hadamard_(w, hadamard_scale))
        else:
            net.fill(weight, "partial identity", lambda w: identity_(w, layout="channel"))
    open_branches(net)
