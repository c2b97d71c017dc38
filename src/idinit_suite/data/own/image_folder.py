"""A folder of pictures, one folder a class, as torchvision's ImageFolder takes it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from .. import cache
from ..base import DATASETS, Batches, DatasetInfo
from ..context import DataContext
from ..images.augment import Augmentation
from ..pictures import decode_all
from ..spec import Images
from ..splits import HeldOut, SplitOptions
from .folders import find_pictures
from .images import ImageOptions, from_cache, image_facts_of, own_images
from .streamed_folder import decoded_shape, streamed_folder

MEMORY = 2 * 2**30  # bytes of decoded pictures that are kept in memory; more are streamed from their files
_READER = 1  # raised when the same files would be decoded to other pixels


@DATASETS.register("image_folder", DatasetInfo(Images))
def image_folder(
    context: DataContext,
    *,
    folder: str,
    size: Annotated[int, Field(ge=4)] | None = None,
    channels: Literal[1, 3] = 3,
    batch_size: PositiveInt = 128,
    validation: HeldOut = None,
    test: HeldOut = None,
    split_seed: NonNegativeInt = 0,
    train_limit: PositiveInt | None = None,
    crop: NonNegativeInt = 4,
    flip: bool = True,
    cutout: NonNegativeInt = 0,
    mixup: NonNegativeFloat = 0.0,
) -> Batches:
    """Pictures in folders, one a class, with or without folders train, val and test around them."""
    where = Path(folder).expanduser()
    files, classes = find_pictures(where)
    splitting = SplitOptions(validation, test, split_seed, train_limit)
    options = ImageOptions(batch_size, splitting, Augmentation(crop, flip, cutout), mixup)
    paths = [path for split in files.values() for path in split.paths]
    kept, key = cache.folder(context.root), cache.key(paths, where, reader=_READER, size=size, channels=channels)
    shape = decoded_shape(paths[0], channels, size)
    if len(paths) * math.prod(shape) > MEMORY:
        return streamed_folder(files, classes, where.name, shape, size, kept / f"pictures-{key}.safetensors", context, options)

    def build() -> cache.Content:
        pixels = decode_all(paths, lambda index: str(paths[index]), channels, size)
        arrays, start = {}, 0
        for split, pictures in files.items():
            arrays[f"{split}_images"] = pixels[start : start + len(pictures)].clone()
            arrays[f"{split}_labels"] = pictures.labels
            start += len(pictures)
        return arrays, image_facts_of(arrays, classes, where.name)

    splits, about = from_cache(cache.cached(kept / f"images-{key}.safetensors", build))
    return own_images(splits, about, context, options)
