"""Sweeps that take seconds."""

from __future__ import annotations

from pathlib import Path

TINY = [
    "train.precision=float32",
    "model=resnet",
    "model.depth=8",
    "data.batch_size=16",
    "data.train_limit=32",
    "impl.threads=1",
]


def places(folder: Path) -> list[str]:
    """Data, runs and results in a folder of the test."""
    return [f"paths.{place}={folder}/{place}" for place in ("data", "runs", "results")]
