"""Mimetic initialization: attention that looks as if it had been trained."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import NonNegativeFloat
from torch import Generator, Tensor

from ..errors import UsageError
from ..network import Network, Weight
from ..parts.heads import Heads
from . import INITIALIZERS, Method


@INITIALIZERS.register("mimetic", Method(paper="Trockman & Kolter 2023, arXiv 2305.09828", needs=("attention",)))
def mimetic(
    net: Network,
    *,
    weights: Literal["qkvo", "vo"] = "qkvo",
    query_noise: NonNegativeFloat = 0.7,
    query_identity: NonNegativeFloat = 0.7,
    value_noise: NonNegativeFloat | None = None,
    value_identity: NonNegativeFloat | None = None,
) -> None:
    """Mimetic: of trained attention, the products Wq' Wk near noise plus identity and Wo Wv near noise minus identity.

    With Z of entries N(0, 1/d), the matrix query_noise Z + query_identity I is split by its singular values between queries
    and keys, for each head anew and cut to the head's size; value_noise Z - value_identity I between output and values.
    Attention to another sequence, and all other weights, have torch's default. The publication's positions are sinusoids;
    those of the network stay what the shared rules make them.

    With ``weights="vo"`` queries and keys have torch's default as well. Values are sqrt(value_identity) I and outputs its
    negative, so that Wo Wv is near -value_identity I on each head's own components, and N(0, value_noise) is added to the
    entries of both: the variant of a record in training GPT-2 (KellerJordan/modded-nanogpt, pull request 214).

    Args:
        net: The network.
        weights: Which weights are filled: queries, keys, values and outputs, or the last two.
        query_noise: Factor on the noise of queries and keys.
        query_identity: Factor on their identity.
        value_noise: Factor on the noise of values and output; 0.4 if not given, 0.01 for "vo".
        value_identity: Factor on their identity, which is subtracted; 0.4 if not given, 0.05 for "vo".

    Raises:
        UsageError: If queries and keys, or values and outputs, are not of the same size.
    """
    usual = (0.4, 0.4) if weights == "qkvo" else (0.01, 0.05)
    noise = usual[0] if value_noise is None else value_noise
    identity = usual[1] if value_identity is None else value_identity
    own = [heads for heads in dict.fromkeys(net.structure.heads) if not heads.is_cross]
    found = [_weights(net, heads) for heads in own]
    for weight in net.weights():
        if not any(weight in (four if weights == "qkvo" else four[2:]) for four in found):
            net.fill_default(weight)
    for heads, (query, key, value, output) in zip(own, found, strict=True):
        if weights == "qkvo":
            _fill_product(net, query, key, heads.size, query_noise, query_identity)
            left, right = _split(noise, -identity, query.shape[1], net.generator)
            rule = f"mimetic, {noise:g} Z - {identity:g} I"
            _copy(net, value, rule, right.T)
            _copy(net, output, rule, left)
        else:
            _fill_near_identity(net, value, identity**0.5, noise)
            _fill_near_identity(net, output, -(identity**0.5), noise)


def _fill_product(net: Network, query: Weight, key: Weight, size: int, noise: float, identity: float) -> None:
    """Queries and keys whose product in each head is noise Z + identity I, cut to the head's size."""
    splits = [_split(noise, identity, query.shape[1], net.generator) for _ in range(query.shape[0] // size)]
    rule = f"mimetic, {noise:g} Z + {identity:g} I"
    _copy(net, query, rule, torch.cat([left[:, :size].T for left, _ in splits]))
    _copy(net, key, rule, torch.cat([right[:, :size].T for _, right in splits]))


def _fill_near_identity(net: Network, weight: Weight, diagonal: float, noise: float) -> None:
    def fill(w: Tensor) -> None:
        w.normal_(0, noise, generator=net.generator).view(len(w), -1).diagonal().add_(diagonal)

    net.fill(weight, f"mimetic, {diagonal:.4g} I + N(0, {noise:g})", fill)


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
                "use 'conditioned'"
            )
    return query, key, value, output


def _split(noise: float, identity: float, width: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """L and R with L R' = noise Z + identity I, of singular values that fall, equally shared."""
    z = torch.empty(width, width).normal_(0, width**-0.5, generator=generator)
    left, values, right = torch.linalg.svd(noise * z + identity * torch.eye(width))
    return left * values.sqrt(), right.T * values.sqrt()


def _copy(net: Network, weight: Weight, rule: str, value: Tensor) -> None:
    net.fill(weight, rule, lambda w: w.copy_(value.reshape(w.shape)))
