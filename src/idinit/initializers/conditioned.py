"""Conditioned initialization of attention: queries, keys and values whose matrices have condition number 1."""

from __future__ import annotations

from torch import Tensor, nn

from ..init import identity_
from ..network import Network
from . import INITIALIZERS, Method


@INITIALIZERS.register("conditioned", Method(paper="Saratchandran & Lucey 2026, arXiv 2609.07086", needs=("attention",)))
def conditioned(net: Network) -> None:
    """Conditioned: the values' matrix is a rectangular identity, those of queries and keys are orthogonal head by head.

    Nothing else changes: other weights have torch's default. That the identity is one of all heads together, so that each
    passes its own share of the components, is our reading.
    """
    sizes = {name: heads.size for heads in net.structure.heads for name in (heads.query, heads.key)}
    for weight in net.weights():
        if weight.part == "value":
            net.fill(weight, "identity", identity_)
        elif weight.part in ("query", "key") and weight.name in sizes:
            size = sizes[weight.name]

            def fill(w: Tensor, size: int = size) -> None:
                for head in w.split(size):
                    nn.init.orthogonal_(head, generator=net.generator)

            net.fill(weight, f"orthogonal, heads of {size}", fill)
        else:
            net.fill_default(weight)
