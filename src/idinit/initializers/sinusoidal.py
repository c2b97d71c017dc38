"""Sinusoidal initialization: deterministic weights, each row a wave."""

from __future__ import annotations

from ..init import sinusoidal_
from ..network import Network
from . import INITIALIZERS, Method


@INITIALIZERS.register(
    "sinusoidal",
    Method(
        paper="Fernandez-Hernandez et al. 2025, arXiv 2505.12909",
        pitfalls=("Row k of n is minus row n - k in a square matrix, so that half of the rank is missing.",),
    ),
)
def sinusoidal(net: Network) -> None:
    """Sinusoidal: each row is a sine over the columns, of variance 2 / (fan-in + fan-out). Nothing is random.

    The rows of [out, in * positions] sum to zero, as the publication wants them to. Its formula has row k of n equal to
    minus row n - k in a square matrix, and two rows of zeros: half of the rank is missing, and those units are copies of one
    another. Here frequencies end at half the columns, and rows that share one differ by their phase, which makes the rank the
    largest that rows with a sum of zero can have. See `idinit.init.sinusoidal_`.
    """
    for weight in net.weights():
        net.fill(weight, "sinusoidal", sinusoidal_)
