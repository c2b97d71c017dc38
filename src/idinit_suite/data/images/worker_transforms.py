"""Transforms of one picture on the way from its file to the batch, in a worker process.

The random choices of a picture are drawn from a state of their own, so they are a function of its seed alone.

torchvision is slow to import, so it is imported where it is used: all commands import this module, and few open a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..pictures import errors_of_pillow, to_mode, upright

KEPT = 2  # JPEGs are decoded at a half, a quarter or an eighth of their size if that is this many times what is needed


class Transform(Protocol):
    """Turns an opened picture into pixels."""

    def __call__(self, file: BinaryIO, seed: int) -> Tensor:
        """Reads a picture.

        Args:
            file: The picture's file.
            seed: Of its random choices.

        Returns:
            uint8 [3, size, size].

        Raises:
            OSError: If it cannot be decoded.
        """


@dataclass(frozen=True)
class Training:
    """A random crop, resized (Szegedy et al. 2015), and what may be added: mirroring, RandAugment, random erasing.

    Attributes:
        size: Side of the result.
        min_scale: Smallest share of the picture's area that a crop may have.
        flip: Mirror left to right with probability 1/2.
        randaugment: Magnitude of RandAugment (Cubuk et al. 2020), two operations a picture; 0 for none.
        erasing: Probability of random erasing (Zhong et al. 2020).
        fill: Colour of what is erased, or moved in from outside.
        interpolation: ``bilinear`` or ``bicubic``.
    """

    size: int
    min_scale: float = 0.08
    flip: bool = True
    randaugment: int = 0
    erasing: float = 0.0
    fill: Sequence[int] = (124, 116, 104)
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        """Makes the transforms."""
        from torchvision.transforms import InterpolationMode, v2

        mode, fill = InterpolationMode(self.interpolation), list(self.fill)
        after: list[Any] = [_mirrored] if self.flip else []
        if self.randaugment:
            after.append(v2.RandAugment(2, self.randaugment, interpolation=InterpolationMode.BILINEAR, fill=fill))
        if self.erasing:
            after.append(v2.RandomErasing(self.erasing, value=fill))
        object.__setattr__(self, "_crop", v2.RandomResizedCrop(self.size, scale=(self.min_scale, 1.0), interpolation=mode))
        object.__setattr__(self, "_after", after)

    def __call__(self, file: BinaryIO, seed: int) -> Tensor:
        """See `Transform`."""
        image = _open(file)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            crop = self._crop.make_params([image])  # type: ignore[attr-defined]
            box = (crop["left"], crop["top"], crop["left"] + crop["width"], crop["top"] + crop["height"])
            pixels = _resized(image, box, (self.size, self.size), self.interpolation)
            for transform in self._after:  # type: ignore[attr-defined]
                pixels = transform(pixels)
        return pixels


@dataclass(frozen=True)
class Evaluation:
    """The centre of a picture: its shorter side is resized to ``size / crop_pct``, and a square cropped.

    Attributes:
        size: Side of the result.
        crop_pct: Share of the shorter side that is kept.
        interpolation: ``bilinear`` or ``bicubic``.
    """

    size: int
    crop_pct: float = 0.875
    interpolation: str = "bilinear"

    def __call__(self, file: BinaryIO, seed: int = 0) -> Tensor:
        """See `Transform`; nothing is random."""
        from torchvision.transforms.v2 import functional as tvf

        image = _open(file)
        (width, height), side = image.size, int(self.size / self.crop_pct)
        wide, high = int(side * width / min(image.size)), int(side * height / min(image.size))
        return tvf.center_crop(_resized(image, (0, 0, width, height), (high, wide), self.interpolation), [self.size])


def _open(file: BinaryIO) -> Image.Image:
    """Opens a picture without decoding it, unless it is to be turned upright."""
    with errors_of_pillow():
        return upright(Image.open(file))


def _resized(image: Image.Image, box: tuple[int, int, int, int], size: tuple[int, int], interpolation: str) -> Tensor:
    """A part of a picture, resized with antialiasing.

    Args:
        image: The picture, perhaps not decoded yet.
        box: Left, top, right and bottom of the part.
        size: Height and width of the result.
        interpolation: ``bilinear`` or ``bicubic``.

    Returns:
        uint8 [3, *size], in memory pixel by pixel.
    """
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional as tvf

    left, top, right, bottom = box
    spare = min((right - left) / size[1], (bottom - top) / size[0]) / KEPT
    whole = image.size
    with errors_of_pillow():
        if spare >= 2:
            image.draft(None, (int(whole[0] / spare), int(whole[1] / spare)))
        across, down = image.width / whole[0], image.height / whole[1]
        first, above = round(left * across), round(top * down)
        last, below = max(round(right * across), first + 1), max(round(bottom * down), above + 1)
        part = np.array(to_mode(image.crop((first, above, last, below)), 3))
    return tvf.resize(torch.from_numpy(part).permute(2, 0, 1), list(size), InterpolationMode(interpolation), antialias=True)


def _mirrored(pixels: Tensor) -> Tensor:
    """torchvision's RandomHorizontalFlip, with the same draw, at a fifth of the time, which is a twentieth of a picture's."""
    return pixels if torch.rand(1) >= 0.5 else pixels.flip(-1)
