"""Mixup and CutMix: each picture of a batch with its neighbour, and their labels in the same proportion."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from idinit.errors import UsageError

from ..base import Inputs, Mixed


@dataclass(frozen=True)
class Mixing:
    """Whether and how the pictures of a batch are mixed.

    A picture's partner is its neighbour in the batch, whose order is random, so that processes that make a share of the batch
    mix the same pictures as one that makes all of it. Where both are asked for, each batch gets one of the two.

    Attributes:
        mixup: Parameter of the Beta distribution of weights (Zhang et al. 2018); 0 for none.
        cutmix: Parameter of the Beta distribution of areas (Yun et al. 2019); 0 for none.
    """

    mixup: float = 0.0
    cutmix: float = 0.0

    def require_pairs(self, share: int) -> None:
        """Makes sure that each picture has a partner.

        Args:
            share: Pictures in the share of a process.

        Raises:
            UsageError: If their number is odd.
        """
        if (self.mixup or self.cutmix) and share % 2:
            raise UsageError(
                f"data.mixup and data.cutmix mix pairs, and a process has {share} pictures of a batch: use an even number"
            )

    def __call__(self, images: Tensor, labels: Tensor, random: Generator) -> tuple[Inputs, Tensor | Mixed]:
        """Mixes a batch, in place.

        Args:
            images: float [B, C, H, W].
            labels: int64 [B].
            random: The batch's random choices, on the CPU.

        Returns:
            The pictures, as the only input, and the labels, or `Mixed` where they were mixed.
        """
        kinds = [kind for kind in ("mixup", "cutmix") if getattr(self, kind)]
        if not kinds:
            return (images,), labels
        kind = kinds[int(torch.randint(len(kinds), (), generator=random))]
        weight = _beta(getattr(self, kind), random)
        partner = torch.arange(len(labels), device=labels.device) ^ 1
        others = images[partner]
        if kind == "mixup":
            images.lerp_(others, 1 - weight)
        else:
            rows, columns, weight = _box(images.shape[2], images.shape[3], weight, random)
            images[:, :, rows, columns] = others[:, :, rows, columns]
        return (images,), Mixed(labels, labels[partner], torch.full((), weight, device=labels.device))


def _beta(parameter: float, random: Generator) -> float:
    """A draw from Beta(parameter, parameter), as the share of one of two draws from Gamma(parameter, 1)."""
    one, two = torch._standard_gamma(torch.full((2,), parameter, dtype=torch.float64), generator=random).tolist()
    return one / (one + two) if one + two else 0.5


def _box(height: int, width: int, weight: float, random: Generator) -> tuple[slice, slice, float]:
    """A rectangle of 1 - ``weight`` of the area about a random centre, cut off at the border, and the share that it leaves."""
    side = (1 - weight) ** 0.5
    spans = []
    for length in (height, width):
        centre, half = int(torch.randint(length, (), generator=random)), int(length * side) // 2
        spans.append(slice(max(0, centre - half), min(length, centre + half)))
    rows, columns = spans
    return rows, columns, 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
