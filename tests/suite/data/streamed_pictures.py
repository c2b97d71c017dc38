"""Small pictures in the layout of ImageNet, read as they are needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from picture_folders import write_pictures
from torch import Tensor

from idinit_suite.data import DATASETS, DataContext, Mixed
from idinit_suite.data.images.streaming import StreamedImages


def write_imagenet(root: Path) -> Path:
    """Writes 42 pictures to train on and 9 to test with, of three classes, below a data root."""
    write_pictures(root / "imagenet" / "train", 14)
    write_pictures(root / "imagenet" / "val", 3, seed=1)
    return root


def build(root: Path, seed: int = 0, rank: int = 0, world_size: int = 1, workers: int = 0, **options: Any) -> StreamedImages:
    context = DataContext(root, seed, rank=rank, world_size=world_size, workers=workers)
    small = {"size": 16, "batch_size": 8, "validation": 6}
    built = DATASETS["imagenet"].build(context, **DATASETS.check("imagenet", {**small, **options}))
    assert isinstance(built, StreamedImages)
    return built


def flat(batch: Any) -> list[Tensor]:
    (images,), labels = batch
    return [images, *(labels if isinstance(labels, Mixed) else [labels])]


def assert_equal(one: Any, two: Any) -> None:
    assert all(torch.equal(a, b) for a, b in zip(flat(one), flat(two), strict=True))
