"""Mimetic initialization: attention that looks as if it had been trained."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Generator, Tensor

from ..errors import UsageError
from ..network import Network, Weight
from ..parts.heads import Heads
from . import INITIALIZERS

Share = Annotated[float, Field(ge=0)]


@INITIALIZERS.register("mimetic", paper="Trockman & Kolter 2023, arXiv 2305.09828", claims=(), needs=("attention",))
def mimetic(
    net: Network,
    *,
    query_noise: Share = 0.7,
    query_identity: Share = 0.7,
    value_noise: Share = 0.4,
    value_identity: Share = 0.4,
) -> None:
    """Mimetic: of trained attention, the products Wq' Wk near noise plus identity and Wo Wv near noise minus identity.

    With Z of entries N(0, 1/d), the matrix query_noise Z + query_identity I is split by its singular values between queries
    and keys, for each head anew and cut to the head's size; value_noise Z - value_identity I between output and values.
    Attention to another sequence, and all other weights, have torch's default. The publication's positions are sinusoids;
    those of the network stay what the shared rules make them.

    Args:
        net: The network.
        query_noise: Factor on the noise of queries and keys.
        query_identity: Factor on their identity.
        value_noise: Factor on the noise of values and output.
        value_identity: Factor on their identity, which is subtracted.

    Raises:
        UsageError: If queries and keys, or values and outputs, are not of the same size.
    """
    own = [heads for heads in dict.fromkeys(net.structure.heads) if not heads.is_cross]
    pairs = [_weights(net, heads) for heads in own]
    for weight in net.weights():
        if not any(weight in pair for pair in pairs):
            net.fill_default(weight)
    for heads, (query, key, value, output) in zip(own, pairs, strict=True):
        width = query.shape[1]
        splits = [_split(query_noise, query_identity, width, net.generator) for _ in range(query.shape[0] // heads.size)]
        rule = f"mimetic, {query_noise:g} Z + {query_identity:g} I"
        _copy(net, query, rule, torch.cat([left[:, : heads.size].T for left, _ in splits]))
        _copy(net, key, rule, torch.cat([right[:, : heads.size].T for _, right in splits]))
        left, right = _split(value_noise, -value_identity, width, net.generator)
        rule = f"mimetic, {value_noise:g} Z - {value_identity:g} I"
        _copy(net, value, rule, right.T)
        _copy(net, output, rule, left)


def _weights(net: Network, heads: Heads) -> tuple[Weight, Weight, Weight, Weight]:
    """The four weights of an attention, checked."""
    query, key = net.weight(heads.query, "query"), net.weight(heads.key, "key")
    value, output = net.weight(heads.value, "value"), net.weight(heads.output)
    width = query.shape[1]
    for first, second, is_possible in (
        (query, key, heads.size <= width and query.shape[0] % heads.size == 0),
        (value, output, value.shape[0] == width),
    ):
        if first.shape != second.shape or first.shape.numel() != first.shape[0] * width or not is_possible:
            raise UsageError(
                f"initializer 'mimetic' splits a square matrix between '{first.name}' ({first.part}) and '{second.name}' "
                f"({second.part}), which are {list(first.shape)} and {list(second.shape)} with heads of {heads.size}: "
                "use init=conditioned"
            )
    return query, key, value, output


def _split(noise: float, identity: float, width: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """L and R with L R' = noise Z + identity I, of singular values that fall, equally shared."""
    z = torch.empty(width, width).normal_(0, width**-0.5, generator=generator)
    left, values, right = torch.linalg.svd(noise * z + identity * torch.eye(width))
    return left * values.sqrt(), right.T * values.sqrt()


def _copy(net: Network, weight: Weight, rule: str, value: Tensor) -> None:
    net.fill(weight, rule, lambda w: w.copy_(value.reshape(w.shape)))
