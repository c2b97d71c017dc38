from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from idinit_suite.data.images.worker_transforms import Evaluation, Training


def jpeg(height: int, width: int) -> io.BytesIO:
    smooth = torch.nn.functional.interpolate(torch.rand(1, 3, height // 16, width // 16) * 255, (height, width), mode="bicubic")
    file = io.BytesIO()
    Image.fromarray(smooth[0].clamp(0, 255).byte().permute(1, 2, 0).numpy()).save(file, "JPEG", quality=95)
    file.seek(0)
    return file


def pixels_of(file: io.BytesIO) -> Tensor:
    return v2.functional.pil_to_tensor(Image.open(file))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("seed", range(4))
def test_training_pictures_are_those_of_torchvision(seed: int, interpolation: str) -> None:
    file = jpeg(80, 96)
    mode = v2.InterpolationMode(interpolation)
    torch.manual_seed(seed)
    expected = v2.Compose([v2.RandomResizedCrop(48, interpolation=mode), v2.RandomHorizontalFlip()])(pixels_of(file))
    assert torch.equal(Training(48, interpolation=interpolation)(file, seed), expected)


@pytest.mark.parametrize("shape", [(80, 96), (96, 80), (48, 48)])
def test_evaluation_pictures_are_those_of_torchvision(shape: tuple[int, int]) -> None:
    file = jpeg(*shape)
    expected = v2.Compose([v2.Resize(64), v2.CenterCrop(56)])(pixels_of(file))
    assert torch.equal(Evaluation(56, 0.875)(file), expected)


def saved(mode: str, kind: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.open(jpeg(80, 96)).convert(mode).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {}),
        ("RGB", {"quality": 30, "progressive": True}),
        ("RGB", {"subsampling": 0, "keep_rgb": True}),
        ("L", {}),
        ("CMYK", {}),
        ("RGB", {"kind": "MPO", "save_all": True, "append_images": [Image.new("RGB", (96, 80))]}),
        ("RGB", {"kind": "PNG"}),
    ],
    ids=["plain", "progressive", "RGB", "grey", "CMYK", "MPO", "PNG"],
)
def test_pictures_have_the_values_that_pillow_decodes(mode: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    content = saved(mode, **options)
    decoded = io.BytesIO()
    Image.open(io.BytesIO(content)).convert("RGB").save(decoded, "PNG")
    for transform in (Training(48), Evaluation(56, 0.875)):
        assert torch.equal(transform(io.BytesIO(content), 3), transform(decoded, 3))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_ends_early_is_refused(share: float, progressive: bool) -> None:
    torch.manual_seed(0)
    content = saved("RGB", quality=95, progressive=progressive)
    with pytest.raises(OSError, match="truncated"):
        Training(48)(io.BytesIO(content[: int(share * len(content))]), 3)


@pytest.mark.parametrize("transform", [Training(28, min_scale=0.9, flip=False), Evaluation(28, 0.875)], ids=["train", "test"])
def test_decoding_at_a_fraction_changes_little(transform: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    file = jpeg(256, 320)
    scaled = transform(file, 3).float()
    monkeypatch.setattr(Image.Image, "draft", lambda *_: None)
    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.draft", lambda *_: None)
    whole = transform(file, 3).float()
    assert not torch.equal(scaled, whole)
    assert (scaled - whole).abs().mean() < 4  # of 255 levels, on a picture of noise


def test_pictures_stand_upright() -> None:
    image = Image.fromarray((np.arange(32 * 64 * 3) % 251).astype(np.uint8).reshape(32, 64, 3))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned, upright = io.BytesIO(), io.BytesIO()
    image.save(turned, "PNG", exif=exif)
    image.transpose(Image.Transpose.ROTATE_270).save(upright, "PNG")
    assert torch.equal(Evaluation(16)(turned), Evaluation(16)(upright))
