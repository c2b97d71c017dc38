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
        UsageError: If the attentions are not those of an encoder and a decoder, or some layer's attention was not found.
    """
    decoder = sum(heads.is_cross for heads in structure.heads)
    encoder = len(structure.heads) - 2 * decoder
    if encoder < 1 and structure.heads:
        raise UsageError(
            f"of {len(structure.heads)} attentions {decoder} are to another sequence: these are not the layers of an encoder "
            "and a decoder, whose depth the method scales with; use 'idinit'"
        )
    of_decoder = decoder_branches(structure)
    for stack in (set(structure.branches) - of_decoder, of_decoder):
        _refuse_uneven(structure, [branch for branch in structure.branches if branch in stack])
    return Layers(encoder, decoder, of_decoder)


def decoder_branches(structure: Structure) -> frozenset[Branch]:
    """The residual branches of a decoder that attends to an encoder."""
    decoder = sum(heads.is_cross for heads in structure.heads)
    encoder = len(structure.heads) - 2 * decoder
    if not decoder or encoder < 0:
        return frozenset()
    first = structure.heads[encoder].output
    start = next((i for i, branch in enumerate(structure.branches) if first in branch.weights), len(structure.branches))
    return frozenset(structure.branches[start:])


def branch_depths(structure: Structure) -> dict[Branch, int]:
    """How many residual branches there are up to the end of each branch's layer: 2 (l + 1) in layer l of a Transformer.

    A layer starts at a branch with attention, unless that is to another sequence; without attention each branch is a layer of
    its own. Each tower counts from one, and so does a decoder that attends to an encoder.
    """
    of_decoder = decoder_branches(structure)
    stacks: dict[tuple[bool, int], list[Branch]] = {}
    for branch, tower in zip(structure.branches, structure.towers or [0] * len(structure.branches), strict=True):
        stacks.setdefault((branch in of_decoder, tower), []).append(branch)
    depths: dict[Branch, int] = {}
    for stack in stacks.values():
        count = 0
        for layer in _layers(structure, stack):
            count += len(layer)
            depths |= dict.fromkeys(layer, count)
    return depths


def attends(structure: Structure, branch: Branch) -> bool:
    """Whether attention's values flow through a branch."""
    parts = {structure.parts.get(name) for name in branch.weights}
    parts |= {piece.part for name in branch.weights for piece in structure.slices.get(name, ())}
    return "value" in parts


def _layers(structure: Structure, branches: list[Branch]) -> list[list[Branch]]:
    cross = {heads.output for heads in structure.heads if heads.is_cross}
    layers: list[list[Branch]] = []
    for branch in branches:
        starts = attends(structure, branch) and cross.isdisjoint(branch.weights)
        if starts or not layers or not attends(structure, layers[-1][0]):
            layers.append([])
        layers[-1].append(branch)
    return layers


def _refuse_uneven(structure: Structure, branches: list[Branch]) -> None:
    """Refuses a stack in which an attention's four weights were not found, or whose layers differ in branches."""
    outputs = {heads.output for heads in structure.heads}
    problem = ""
    if lost := [branch.end for branch in branches if attends(structure, branch) and outputs.isdisjoint(branch.weights)]:
        problem = f"the attention that ends in '{lost[0]}' has not one weight each for queries, keys, values and output"
    elif structure.heads and len(sizes := {len(layer) for layer in _layers(structure, branches)}) > 1:
        odd = next(layer for layer in _layers(structure, branches) if len(layer) == max(sizes))
        problem = f"layers have {min(sizes)} to {max(sizes)} residual branches, as that which ends in '{odd[-1].end}'"
    if problem:
        raise UsageError(f"the method scales with the number of layers, and they cannot be counted: {problem}; use 'idinit'")
