"""Picture files of any kind and size -> arrays of one shape."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from idinit.errors import UsageError

from .locate import reason_of


def decode(content: Path | bytes, channels: int, size: int | None) -> np.ndarray:
    """Reads a picture upright (as its EXIF orientation says), 8 bits a channel, in grey or RGB.

    Args:
        content: The file, or its bytes.
        channels: 3 for RGB, 1 for grey.
        size: Side of the square to return: the shorter side is resized to it (bilinear, antialiased), and the longer one is
            cropped about its centre. None for the picture as it is.

    Returns:
        uint8 [H, W, channels].

    Raises:
        OSError: If it cannot be decoded.
    """
    try:
        with Image.open(content if isinstance(content, Path) else io.BytesIO(content)) as opened:
            image = to_mode(ImageOps.exif_transpose(opened), channels)
    except (SyntaxError, ValueError, TypeError, EOFError, Image.DecompressionBombError) as error:
        raise OSError(str(error)) from None
    if size is not None and image.size != (size, size):
        image = resize_and_crop(image, size)
    return np.asarray(image).reshape(image.height, image.width, channels)


def unreadable(name: str, reason: str) -> UsageError:
    """The error of a picture that cannot be decoded."""
    return UsageError(f"{name} cannot be read as a picture ({reason}): delete it or copy it again")


def to_mode(image: Image.Image, channels: int) -> Image.Image:
    """Converts to grey (1 channel) or RGB (3 channels), 8 bits each, whatever the picture is stored in."""
    if image.mode.startswith("I"):  # 16 bits, which Pillow would clip at 255
        image = Image.fromarray((np.asarray(image).astype(np.float64) / 257).round().clip(0, 255).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("L" if channels == 1 else "RGB")


def resize_and_crop(image: Image.Image, size: int) -> Image.Image:
    """Resizes the shorter side to ``size`` and crops the centre square, as torchvision's Resize and CenterCrop do."""
    width, height = (int(size * side / min(image.size)) for side in image.size)
    left, top = round((width - size) / 2), round((height - size) / 2)
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + size, top + size))


def decode_all(contents: Sequence[Path | bytes], names: Callable[[int], str], channels: int, size: int | None) -> Tensor:
    """Decodes pictures on all cores.

    Args:
        contents: Files, or their bytes.
        names: What an error calls the picture of an index.
        channels: See `decode`.
        size: See `decode`.

    Returns:
        uint8 [N, channels, H, W].

    Raises:
        UsageError: Naming the picture, if one cannot be read, or if ``size`` is None and they differ in size.
    """

    def read(index: int) -> np.ndarray:
        try:
            return decode(contents[index], channels, size)
        except OSError as error:
            raise unreadable(names(index), reason_of(error)) from None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        images: np.ndarray | None = None
        for index, image in enumerate(pool.map(read, range(len(contents)))):
            if images is None:
                images = np.empty((len(contents), *image.shape), np.uint8)
            if image.shape != images.shape[1:]:
                pool.shutdown(cancel_futures=True)
                (height, width, _), (first_height, first_width, _) = image.shape, images.shape[1:]
                raise UsageError(
                    f"{names(index)} has {width}x{height} pixels and {names(0)} has {first_width}x{first_height}: "
                    "say data.size=64 (or another side) to bring them to one size"
                )
            images[index] = image
    assert images is not None
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
