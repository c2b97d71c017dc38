"""Runs that take seconds: a small ResNet on scikit-learn's digits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from idinit_suite.config import RunConfig, check, compose

RESNET8 = [
    "model=resnet",
    "model.depth=8",
    "data=digits",
    "data.batch_size=16",
    "train.precision=float32",
    "impl.threads=1",
    "wandb.mode=disabled",
]


def digits_run(words: Sequence[str], folder: Path, *overrides: str) -> RunConfig:
    """A run with its data, run folder and results below a folder."""
    places = [f"paths.{place}={folder}/{place}" for place in ("data", "runs", "results")]
    return check(compose([*RESNET8, *words, *places, *overrides]))
