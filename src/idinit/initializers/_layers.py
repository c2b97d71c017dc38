"""The layers of a transformer, as methods that scale with depth count them."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError
from ..parts.structure import Branch, Structure


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
