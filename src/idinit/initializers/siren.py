"""SIREN: networks whose activation is a sine."""

from __future__ import annotations

import math

from pydantic import PositiveFloat

from ..network import Network, Weight
from ..parts.structure import owner_of
from . import INITIALIZERS, Method


@INITIALIZERS.register(
    "siren",
    Method(
        paper="Sitzmann et al. 2020, arXiv 2006.09661",
        needs=("sine",),
        pitfalls=("The factor omega is applied twice: in the sines and again in the bounds.",),
    ),
)
def siren(net: Network, *, omega: PositiveFloat = 30.0) -> None:
    """SIREN: first layer U(-1/n, 1/n) of n inputs, all others U(-b, b), b = sqrt(6/n) / omega, for sin(omega (W x + b)).

    The factor omega is the model's own, inside its sines: where it has none, set ``omega=1``. Biases are U(-b, b) with
    b = 1/sqrt(n), torch's default, which the authors' code leaves them: with zeros the network would be an odd function.

    Args:
        net: The network.
        omega: The factor in the model's sines; 30 is the publication's.
    """
    fan_in = {}
    for weight in net.weights():
        inputs = fan_in[owner_of(weight.name)] = weight.shape[1:].numel()
        _fill(net, weight, 1 / inputs if weight.part == "stem" else math.sqrt(6 / inputs) / omega)
    for name in net.names("bias"):
        if owner_of(name) in fan_in:
            _fill(net, name, fan_in[owner_of(name)] ** -0.5)


def _fill(net: Network, weight: Weight | str, bound: float) -> None:
    net.fill(weight, f"U(+-{bound:.4g})", lambda w: w.uniform_(-bound, bound, generator=net.generator))
