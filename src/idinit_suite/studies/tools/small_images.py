"""Images as short vectors, for networks small enough to train by the hundred."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F

from ...data import load_images


class SmallImages(NamedTuple):
    """Examples of a split.

    Attributes:
        inputs: [N, channels * side^2] in float64, not negative, as pixels are, with a root mean square of 1 over the
            training images.
        labels: int64 [N].
        source: Title of what was read.
    """

    inputs: Tensor
    labels: Tensor
    source: str


def small_images(name: str, root: Path, side: int) -> SmallImages:
    """The training images of a set, made smaller by averaging.

    Args:
        name: Of the set.
        root: The data root.
        side: Height and width; a divisor of 32.

    Raises:
        UsageError: If the set is found nowhere.
    """
    images = load_images(name, root)
    pixels = images.train_images.double()
    inputs = F.avg_pool2d(pixels, pixels.shape[-1] // side).flatten(1)
    return SmallImages(inputs / inputs.square().mean().sqrt(), images.train_labels, images.source)
