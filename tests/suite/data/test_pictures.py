from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from idinit.errors import UsageError
from idinit_suite.data.images.worker_transforms import Evaluation
from idinit_suite.data.pictures import decode, decode_all

ORIENTATION = 0x0112


def ramp(height: int = 24, width: int = 32) -> np.ndarray:
    """Smooth, so that JPEG keeps it, and the same in no other orientation."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 6, columns * 6, rows * 2 + columns * 2], -1).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def distance(pixels: np.ndarray, expected: np.ndarray) -> float:
    assert pixels.shape == expected.shape and pixels.dtype == np.uint8
    return float(np.abs(pixels.astype(float) - expected).mean())


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP", "JPEG", "PPM"])
def test_kinds_of_files(kind: str) -> None:
    options = {"quality": 100} if kind in ("JPEG", "WEBP") else {}
    assert distance(decode(encoded(Image.fromarray(ramp()), kind, **options), 3, None), ramp()) < 2


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "CMYK", "P", "YCbCr"])
def test_colours_however_they_are_stored(mode: str) -> None:
    kind = {"RGBA": "PNG", "P": "PNG"}.get(mode, "JPEG")
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    assert distance(decode(encoded(Image.fromarray(ramp()).convert(mode), kind, **options), 3, None), ramp()) < (
        20 if mode == "P" else 12
    )


def test_a_palette_with_transparency() -> None:
    image = Image.fromarray(ramp()).convert("P")
    content = encoded(image, "PNG", transparency=bytes(range(256)))
    assert np.array_equal(decode(content, 3, None), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("channels", [1, 3])
def test_grey_pictures(kind: str, channels: int) -> None:
    grey = ramp()[:, :, 0]
    pixels = decode(encoded(Image.fromarray(grey), kind, **({"quality": 100} if kind == "JPEG" else {})), channels, None)
    assert distance(pixels, np.repeat(grey[:, :, None], channels, 2)) < 2


def test_grey_of_sixteen_bits_is_scaled_and_not_clipped() -> None:
    deep = (ramp()[:, :, 0].astype(np.uint16) * 257) + 3
    assert np.array_equal(decode(encoded(Image.fromarray(deep), "PNG"), 1, None)[:, :, 0], ramp()[:, :, 0])


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a)),
        (7, lambda a: np.rot90(a, 2).transpose(1, 0, 2)),
        (8, lambda a: np.rot90(a, -1)),
    ],
)
def test_pictures_stand_upright(orientation: int, stored: object) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored(ramp())))  # type: ignore[operator]
    assert np.array_equal(decode(encoded(image, "PNG", exif=exif), 3, None), ramp())


def entry(tag: int, kind: int, value: int) -> bytes:
    """One tag of EXIF data with one value, a SHORT (3) or a LONG (4)."""
    return struct.pack("<HHII", tag, kind, 1, value)


@pytest.mark.parametrize(
    ("entries", "turned"),
    [
        ([entry(ORIENTATION, 3, 6), entry(0x0128, 4, 70000)], True),  # the unit of resolution, as a number that is none
        ([entry(ORIENTATION, 3, 6), entry(0x0213, 4, 2**32 - 1)], True),
        ([entry(ORIENTATION, 4, 2**31)], False),
        ([entry(ORIENTATION, 3, 0)], False),
        ([entry(ORIENTATION, 99, 6)], False),
    ],
)
def test_odd_exif_data_do_not_make_a_picture_unreadable(entries: list[bytes], turned: bool) -> None:
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + bytes(4)
    content = encoded(Image.fromarray(ramp()), "JPEG", quality=100, subsampling=0, exif=exif)
    expected = np.rot90(ramp(), -1) if turned else ramp()
    assert distance(decode(content, 3, None), expected) < 2
    read = Evaluation(8)
    plain = encoded(Image.fromarray(np.ascontiguousarray(expected)), "PNG")
    assert (read(io.BytesIO(content)).float() - read(io.BytesIO(plain)).float()).abs().mean() < 2


@pytest.mark.parametrize("shape", [(24, 32), (32, 24), (16, 16), (5, 40), (100, 60)])
def test_sizes_are_brought_to_a_square_as_by_torchvision(shape: tuple[int, int]) -> None:
    image = Image.fromarray((np.random.default_rng(0).random((*shape, 3)) * 255).astype(np.uint8))
    expected = v2.Compose([v2.Resize(16), v2.CenterCrop(16)])(image)
    assert np.array_equal(decode(encoded(image, "PNG"), 3, 16), np.asarray(expected))


def test_many_are_decoded_in_order(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(20)]
    for number, path in enumerate(paths):
        Image.new("RGB", (4, 4), (number, 2, 3)).save(path)
    pixels = decode_all(paths, str, 3, None)
    assert pixels.shape == (20, 3, 4, 4) and pixels.dtype == torch.uint8 and pixels.is_contiguous()
    assert pixels[:, 0, 0, 0].tolist() == list(range(20))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a picture",
        encoded(Image.fromarray(ramp(99, 99)), "JPEG")[:-900],
        encoded(Image.fromarray(ramp()), "PNG")[:60],
        encoded(Image.new("F", (4, 4), 0.5), "TIFF"),
    ],
)
def test_a_damaged_one_is_named(tmp_path: Path, content: bytes) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(content)
    with pytest.raises(UsageError, match=r"bad\.jpg ") as caught:
        decode_all([bad], lambda _: str(bad), 3, 8)
    assert "\n" not in str(caught.value)


def test_pictures_of_several_sizes_need_one(tmp_path: Path) -> None:
    contents = [encoded(Image.new("RGB", size), "PNG") for size in ((8, 8), (8, 9))]
    with pytest.raises(UsageError, match=r"picture 1 .* 8x9 .*picture 0 .* 8x8.*data\.size=64"):
        decode_all(contents, lambda index: f"picture {index}", 3, None)
