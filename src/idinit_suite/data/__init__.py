"""Data sets by name, loaded once into memory and served in batches that depend on the seed and the step alone."""

from __future__ import annotations

from importlib import import_module
from pkgutil import walk_packages

from .base import DATASETS, Batches, Inputs, Mixed, predicts_tokens
from .context import DataContext
from .images.load import ImageData, load_images
from .spec import Images, MaskedTokens, Sentences, Spec
from .splits import split

__all__ = [
    "DATASETS",
    "Batches",
    "ImageData",
    "Images",
    "Inputs",
    "MaskedTokens",
    "Mixed",
    "DataContext",
    "Sentences",
    "Spec",
    "load_images",
    "predicts_tokens",
    "split",
]

for _module in walk_packages(__path__, f"{__name__}."):  # each registers the data sets it has
    import_module(_module.name)
