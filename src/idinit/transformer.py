"""The layers of a transformer, as methods that scale with depth count them."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import UsageError
from .structure import Branch, Structure


@dataclass(frozen=True)
class Layers:
    """How deep the encoder and the decoder are.

    A stack without attention to another one is an encoder here, be it causal or not.

    Attributes:
        encoder: Number of layers of the encoder.
        decoder: Number of layers of the decoder, each with one attention to the encoder.
        of_decoder: The residual branches of the decoder.
    """

    encoder: int
    decoder: int
    of_decoder: frozenset[Branch]


def count_layers(structure: Structure) -> Layers:
    """Counts the layers by their attentions: one in each of the encoder's, two in each of the decoder's.

    Raises:
        UsageError: If the attentions are not those of an encoder and a decoder.
    """
    decoder = sum(heads.is_cross for heads in structure.heads)
    encoder = len(structure.heads) - 2 * decoder
    if encoder < 1 and structure.heads:
        raise UsageError(
            f"of {len(structure.heads)} attentions {decoder} are to another sequence: these are not the layers of an encoder "
            "and a decoder, whose depth the method scales with; use init=idinit"
        )
    if not decoder:
        return Layers(encoder, 0, frozenset())
    first = structure.heads[encoder].output
    start = next((i for i, branch in enumerate(structure.branches) if first in branch.weights), len(structure.branches))
    return Layers(encoder, decoder, frozenset(structure.branches[start:]))


def branch_depths(structure: Structure) -> dict[Branch, int]:
    """How many residual branches there are up to the end of each branch's layer: 2 (l + 1) in layer l of a Transformer.

    A layer starts at a branch with attention, unless that is to another sequence; without attention each branch is a layer of
    its own. The first layer with attention to another sequence, a decoder's, counts from one again.
    """
    cross = {heads.output for heads in structure.heads if heads.is_cross}
    layers: list[list[Branch]] = []
    for branch in structure.branches:
        starts = _attends(structure, branch) and cross.isdisjoint(branch.weights)
        if starts or not layers or not _attends(structure, layers[-1][0]):
            layers.append([])
        layers[-1].append(branch)
    depths: dict[Branch, int] = {}
    count, in_decoder = 0, False
    for layer in layers:
        is_decoders = any(not cross.isdisjoint(branch.weights) for branch in layer)
        count = len(layer) + (0 if is_decoders and not in_decoder else count)
        in_decoder = is_decoders
        depths |= dict.fromkeys(layer, count)
    return depths


def _attends(structure: Structure, branch: Branch) -> bool:
    """Whether attention's values flow through a branch."""
    parts = {structure.parts.get(name) for name in branch.weights}
    parts |= {piece.part for name in branch.weights for piece in structure.slices.get(name, ())}
    return "value" in parts
