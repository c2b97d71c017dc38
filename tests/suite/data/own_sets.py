"""Data sets of a user's own, as tests make and read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from picture_folders import write_pictures

from idinit_suite.data import DATASETS, Batches, DataContext


def build(name: str, tmp_path: Path, rank: int = 0, world_size: int = 1, **options: Any) -> Batches:
    context = DataContext(tmp_path / "root", 0, rank=rank, world_size=world_size)
    return DATASETS[name].build(context, **DATASETS.check(name, {"batch_size": 4, **options}))


def image_folder(tmp_path: Path) -> dict[str, Any]:
    return {"folder": str(write_pictures(tmp_path / "pictures", 10)), "size": 8}
