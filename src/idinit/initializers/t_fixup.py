"""T-Fixup: transformers without normalization, by scaling with depth."""

from __future__ import annotations

from ..network import Network
from . import INITIALIZERS, Method
from ._default_rules import fill_table
from ._layers import count_layers
from .xavier import fill_xavier

SCALED = ("value", "branch", "branch_end")


@INITIALIZERS.register("t_fixup", Method(paper="Huang et al. 2020, ICML", needs=("branches", "attention", "no_norm")))
def t_fixup(net: Network) -> None:
    """T-Fixup: Xavier, scaled down with the number of layers in values, outputs, feed-forward layers and embeddings.

    With N layers of the encoder and M of the decoder: the encoder's weights times 0.67 N^(-1/4), the decoder's times
    (9 M)^(-1/4), embeddings of width d N(0, d^(-1/2)) times (9 N)^(-1/4). Queries and keys have a gain of 1/sqrt(2), as in
    the authors' code. Weights of other parts are Xavier. A stack without a second one counts as an encoder.
    """
    layers = count_layers(net.structure)
    encoder = 0.67 * layers.encoder**-0.25
    decoder = (9 * layers.decoder) ** -0.25 if layers.decoder else 1.0
    for weight in net.weights():
        if weight.part in SCALED and weight.branch:
            fill_xavier(net, weight, decoder if weight.branch in layers.of_decoder else encoder)
        else:
            fill_xavier(net, weight, 2**-0.5 if weight.part in ("query", "key") else 1.0)
    for name in net.names("embedding"):
        width = net.model.get_parameter(name).shape[-1]
        fill_table(net, name, width**-0.5 * (9 * layers.encoder) ** -0.25)
