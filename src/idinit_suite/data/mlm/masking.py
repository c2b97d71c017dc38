"""Masked language modelling (Devlin et al. 2019): which tokens are to be guessed, drawn anew for each batch on its device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from ..base import Inputs


@dataclass(frozen=True)
class Masking:
    """Of every text the same number of tokens is chosen, so that all batches have one shape.

    Of the chosen ones 80 % become the mask, 10 % a random token, and 10 % stay.

    Attributes:
        count: Tokens to guess in a text.
        mask: Number of the mask.
        special: Numbers below this are special tokens, which are neither chosen nor drawn.
        vocabulary: Number of tokens.
    """

    count: int
    mask: int
    special: int
    vocabulary: int

    def __call__(self, tokens: Tensor, random: Generator) -> tuple[Inputs, Tensor]:
        """Chooses tokens and hides them.

        Args:
            tokens: int64 [B, T]; at least ``count`` in each row are not special.
            random: On the device of the tokens.

        Returns:
            The inputs of a model: tokens with some hidden, int64 [B, T], and the positions to guess, int64 [B, count],
            ascending; and the tokens that were there, int64 [B, count].
        """
        scores = torch.rand(tokens.shape, generator=random, device=tokens.device)
        positions = scores.masked_fill_(tokens < self.special, -1).topk(self.count).indices.sort().values
        targets = tokens.gather(1, positions)
        fate = torch.rand(targets.shape, generator=random, device=tokens.device)
        others = torch.randint(self.special, self.vocabulary, targets.shape, generator=random, device=tokens.device)
        shown = torch.where(fate < 0.8, self.mask, torch.where(fate < 0.9, others, targets))
        return (tokens.scatter(1, positions, shown), positions), targets
