"""Data sets by name, loaded once into memory and served in batches that depend on the seed and the step alone."""

from __future__ import annotations

from . import loader as _loader  # noqa: F401  registers the sets of images
from .batches import DATASETS, Batches, Mixed
from .images import ImageData, load_images
from .splits import split

__all__ = ["DATASETS", "Batches", "ImageData", "Mixed", "load_images", "split"]
