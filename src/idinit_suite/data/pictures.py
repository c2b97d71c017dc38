"""Picture files of any kind and size -> arrays of one shape."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor

from idinit.errors import UsageError

from ..errors import first_line

_AHEAD = 1024  # pictures that are decoded before the first of them has been used
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by EXIF orientation


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
    with errors_of_pillow(), Image.open(content if isinstance(content, Path) else io.BytesIO(content)) as opened:
        image = to_mode(upright(opened), channels)
    if size is not None and image.size != (size, size):
        image = resize_and_crop(image, size)
    return np.asarray(image).reshape(image.height, image.width, channels)


@contextmanager
def errors_of_pillow() -> Iterator[None]:
    """Turns whatever Pillow raises of a picture that it cannot decode into OSError."""
    try:
        yield
    except (SyntaxError, ValueError, TypeError, EOFError, Image.DecompressionBombError) as error:
        raise OSError(str(error)) from None


def unreadable(name: str, reason: str) -> UsageError:
    """The error of a picture that cannot be decoded."""
    return UsageError(f"{name} cannot be read as a picture ({reason}): delete it or copy it again")


def upright(image: Image.Image) -> Image.Image:
    """Turns a picture as its EXIF orientation says; it is decoded only if it has to be turned.

    Pillow's ``exif_transpose`` encodes all of the EXIF data again as well, and fails where some other tag is odd.
    """
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF data raise what they like; the picture itself may be sound
        return image
    return image if turn is None else image.transpose(turn)


def to_mode(image: Image.Image, channels: int) -> Image.Image:
    """Decodes to grey (1 channel) or RGB (3 channels), 8 bits each, whatever the picture is stored in.

    Raises:
        ValueError: If it is stored in floating-point numbers, whose range nothing tells; Pillow would clip them to 0 to 255.
    """
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers: save it with 8 or 16 bits a channel")
    if image.mode.startswith("I"):  # 16 bits, which Pillow would clip at 255
        image = Image.fromarray((np.asarray(image).astype(np.float64) / 257).round().clip(0, 255).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    mode = "L" if channels == 1 else "RGB"
    image.load()
    return image if image.mode == mode else image.convert(mode)  # which would copy it


def resize_and_crop(image: Image.Image, size: int) -> Image.Image:
    """Resizes the shorter side to ``size`` and crops the centre square, as torchvision's Resize and CenterCrop do."""
    width, height = (int(size * side / min(image.size)) for side in image.size)
    left, top = round((width - size) / 2), round((height - size) / 2)
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + size, top + size))


def decode_each(
    contents: Sequence[Path | bytes], names: Callable[[int], str], channels: int, size: int | None
) -> Iterator[np.ndarray]:
    """Decodes pictures on all cores, some ahead of the one that is asked for.

    Args:
        contents: Files, or their bytes.
        names: What an error calls the picture of an index.
        channels: See `decode`.
        size: See `decode`.

    Yields:
        In their order, uint8 [H, W, channels], all of one size.

    Raises:
        UsageError: Naming the picture, if one cannot be read, or if ``size`` is None and they differ in size.
    """

    def read(index: int) -> np.ndarray:
        try:
            return decode(contents[index], channels, size)
        except OSError as error:
            raise unreadable(names(index), first_line(error)) from None

    first: np.ndarray | None = None
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(contents), _AHEAD):
            stretch = range(start, min(start + _AHEAD, len(contents)))
            for index, image in zip(stretch, pool.map(read, stretch), strict=True):
                first = image if first is None else first
                if image.shape != first.shape:
                    pool.shutdown(cancel_futures=True)
                    (height, width, _), (first_height, first_width, _) = image.shape, first.shape
                    raise UsageError(
                        f"{names(index)} has {width}x{height} pixels and {names(0)} has {first_width}x{first_height}: "
                        "set data.size=64 (or another side) to bring them to one size"
                    )
                yield image


def decode_all(contents: Sequence[Path | bytes], names: Callable[[int], str], channels: int, size: int | None) -> Tensor:
    """All pictures that `decode_each` yields, uint8 [N, channels, H, W]."""
    images: np.ndarray | None = None
    for index, image in enumerate(decode_each(contents, names, channels, size)):
        if images is None:
            images = np.empty((len(contents), *image.shape), np.uint8)
        images[index] = image
    assert images is not None
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
