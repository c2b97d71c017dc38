"""DeepNorm: very deep post-norm transformers, by weighing the skip path up and the branches down."""

from __future__ import annotations

from ..network import Network
from . import INITIALIZERS, Method
from ._layers import count_layers
from .t_fixup import SCALED
from .xavier import fill_xavier


@INITIALIZERS.register(
    "deepnorm",
    Method(
        paper="Wang et al. 2022, arXiv 2203.00555",
        needs=("branches", "attention", "sum_norm"),
        pitfalls=("The layers that are scaled are found by a substring of their names, so that others are silently left out.",),
    ),
)
def deepnorm(net: Network) -> None:
    """DeepNorm: norm(alpha x + f(x)), and Xavier weights with gain beta in values, outputs and feed-forward layers.

    Of N layers without a second stack, alpha = (2 N)^(1/4) and beta = (8 N)^(-1/4). Of N layers of an encoder and M of a
    decoder, the encoder has alpha = 0.81 (N^4 M)^(1/16) and beta = 0.87 (N^4 M)^(-1/16), where the authors' code has 1/0.87;
    the decoder has alpha = (3 M)^(1/4) and beta = (12 M)^(-1/4). Queries, keys and other parts have gain 1. All are normal.

    The norm does not see a common factor of its input: instead of x times alpha, the branch is multiplied with the
    constant 1/alpha, which is the same but for the norm's epsilon and leaves the model's code as it is.

    Raises:
        UsageError: If a branch has no module of its own on which a multiplier could act.
    """
    places, layers = net.branch_places(), count_layers(net.structure)
    n, m = layers.encoder, layers.decoder
    encoder = (0.81 * (n**4 * m) ** (1 / 16), 0.87 * (n**4 * m) ** (-1 / 16)) if m else ((2 * n) ** 0.25, (8 * n) ** -0.25)
    decoder = ((3 * m) ** 0.25, (12 * m) ** -0.25) if m else encoder
    for weight in net.weights():
        is_scaled = weight.part in SCALED and weight.branch
        beta = (decoder if weight.branch in layers.of_decoder else encoder)[1] if is_scaled else 1.0
        fill_xavier(net, weight, beta, "normal")
    for branch, place in places.items():
        alpha = (decoder if branch in layers.of_decoder else encoder)[0]
        net.add_scalar("output_scale", 1 / alpha, branch.end, at=place, learnable=False)
