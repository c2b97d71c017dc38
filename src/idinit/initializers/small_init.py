"""Small initialization, as GPT-NeoX has it."""

from __future__ import annotations

import math

from ..network import Network, Weight
from . import INITIALIZERS, Method
from ._default_rules import fill_table
from ._layers import count_layers
from .gpt2 import fill_normal


@INITIALIZERS.register("small_init", Method(paper="Nguyen & Salazar 2019, arXiv 1910.05895", needs=("branches", "attention")))
def small_init(net: Network) -> None:
    """SmallInit: normal weights of variance 2 / (5 d), and of deviation 2 / (L sqrt(d)) at the end of each branch.

    The publication gives all of a Transformer of width d the variance that Xavier gives the widening layer of its
    feed-forward branch; the ends of branches are GPT-NeoX's, in stacks of L layers. Embeddings have the variance 2 / (5 d)
    too. Where widths differ, d is that of the main path beside a weight: what its branch adds, what the stem makes, what
    others read.
    """
    layers = count_layers(net.structure)
    for weight in net.weights():
        d = _width(net, weight)
        if weight.part == "branch_end" and weight.branch:
            depth = layers.decoder if weight.branch in layers.of_decoder else layers.encoder
            fill_normal(net, weight, 2 / (depth * math.sqrt(d)))
        else:
            fill_normal(net, weight, math.sqrt(2 / (5 * d)))
    for name in net.names("embedding"):
        fill_table(net, name, math.sqrt(2 / (5 * net.model.get_parameter(name).shape[-1])))


def _width(net: Network, weight: Weight) -> int:
    """The width of the main path beside a weight."""
    if weight.branch:
        return net.weight(weight.branch.end).shape[0]
    return weight.shape[0 if weight.part == "stem" else 1]
