"""Data sets by name, loaded once into memory and served in batches that depend on the seed and the step alone."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from .batches import DATASETS, Batches, Inputs, Mixed, predicts_tokens
from .images import ImageData, load_images
from .place import Place
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
    "Place",
    "Sentences",
    "Spec",
    "load_images",
    "predicts_tokens",
    "split",
]

for _module in iter_modules(__path__):  # each registers the data sets it has
    import_module(f".{_module.name}", __name__)
