"""A folder of pictures, one folder a class, as torchvision's ImageFolder takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

from idinit.errors import UsageError, did_you_mean

from .. import cache
from ..base import DATASETS, DatasetInfo
from ..context import DataContext
from ..images.augment import Augmentation
from ..images.batches import ImageBatches
from ..images.load import ImageFacts, channel_statistics
from ..pictures import decode_all
from ..spec import Images
from ..splits import HeldOut, whole_splits

SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test", "testing"),
}
_READER = 1  # raised when the same files would be decoded to other pixels


def split_names(found: Sequence[str]) -> dict[str, str]:
    """Split -> the name that stands for it among those found; names that stand for none are left out."""
    return {split: name for split, usual in SPLITS.items() for name in found if name.lower() in usual}


@dataclass(frozen=True)
class PictureFiles:
    """The pictures of one split.

    Attributes:
        paths: Their files, in order of class and name.
        labels: Their classes, int64 [N].
    """

    paths: Sequence[Path]
    labels: Tensor


def find_pictures(folder: Path) -> tuple[dict[str, PictureFiles], tuple[str, ...]]:
    """Finds the pictures of a folder.

    Args:
        folder: Holds ``train`` and perhaps ``val`` and ``test``, each with a folder a class; or the folders of the classes.
            Hidden files, and files that are no pictures by their ending, are passed over.

    Returns:
        Split -> its pictures, and the names of the classes.

    Raises:
        UsageError: If there is no such folder, a class without a picture, a class that is not in the training split, or fewer
            than two classes.
    """
    if not folder.is_dir():
        raise UsageError(f"data.folder={folder}: there is no such folder: give one with a folder of pictures for each class")
    places = {split: folder / name for split, name in split_names(_folders(folder)).items()}
    if not places:
        places = {"train": folder}
    if "train" not in places:
        raise UsageError(f"data.folder={folder}: there is {', '.join(p.name for p in places.values())} and no folder train")
    classes = _folders(places["train"])
    if len(classes) < 2:
        raise UsageError(
            f"{places['train']} holds {len(classes)} folders with pictures ({', '.join(classes) or 'none'}), and a classifier "
            "needs two classes: make a folder for each"
        )
    return {split: _pictures(place, classes) for split, place in places.items()}, classes


def _folders(place: Path) -> tuple[str, ...]:
    return tuple(sorted(entry.name for entry in place.iterdir() if entry.is_dir() and not entry.name.startswith(".")))


def _pictures(place: Path, classes: Sequence[str]) -> PictureFiles:
    names = _folders(place)
    if not names:
        raise UsageError(f"{place} has no folders of classes, so its pictures have no labels: make them, or move it away")
    if unknown := sorted(set(names) - set(classes)):
        raise UsageError(
            f"{place / unknown[0]}: the training split has no class '{unknown[0]}': {did_you_mean(unknown[0], classes[:20])}"
        )
    numbers = {name: classes.index(name) for name in names}
    found = [
        (Path(path), label)
        for path, label in make_dataset(place, numbers, IMG_EXTENSIONS, allow_empty=True)
        if not any(part.startswith(".") for part in Path(path).relative_to(place).parts)
    ]
    if empty := set(numbers.values()) - {label for _, label in found}:
        raise UsageError(
            f"{place / classes[min(empty)]} holds no pictures (files ending in {', '.join(IMG_EXTENSIONS)}): "
            "fill it or delete it"
        )
    paths, labels = zip(*found, strict=True)
    return PictureFiles(paths, torch.tensor(labels))


def own_images(
    found: Mapping[str, tuple[Tensor, Tensor]],
    about: ImageFacts,
    context: DataContext,
    *,
    batch_size: int,
    validation: HeldOut,
    test: HeldOut,
    split_seed: int,
    train_limit: int | None,
    crop: int,
    flip: bool,
    cutout: int,
    mixup: float,
) -> ImageBatches:
    """Batches of a user's images; a validation or test split that they lack is held out of the training split."""
    return ImageBatches(
        whole_splits(found, found["train"][1], pick, validation, test, split_seed, train_limit),
        about,
        context,
        batch_size=batch_size,
        augmentation=Augmentation(crop, flip, cutout),
        mixup=mixup,
    )


def pick(examples: tuple[Tensor, Tensor], rows: Tensor) -> tuple[Tensor, Tensor]:
    """Some of the inputs and their labels."""
    inputs, labels = examples
    return inputs[rows], labels[rows]


def facts_of(arrays: Mapping[str, Tensor], classes: Sequence[str], source: str) -> dict[str, Any]:
    """The facts that the cache keeps beside decoded images."""
    mean, std = channel_statistics(arrays["train_images"])
    if not all(std):
        raise UsageError(f"{source}: a channel has the same value in all pixels of all training pictures: use others")
    return {"classes": list(classes), "mean": mean, "std": std, "source": source}


def from_cache(content: cache.Content) -> tuple[dict[str, tuple[Tensor, Tensor]], ImageFacts]:
    """Splits and facts as the cache keeps them."""
    arrays, facts = content
    splits = {split: (arrays[f"{split}_images"], arrays[f"{split}_labels"]) for split in SPLITS if f"{split}_images" in arrays}
    classes = len(facts["classes"])
    return splits, ImageFacts(classes, facts["mean"], facts["std"], facts["checksum"], facts["source"], {"classes": classes})


@DATASETS.register("image_folder", DatasetInfo(Images))
def image_folder(
    context: DataContext,
    *,
    folder: str,
    size: Annotated[int, Field(ge=4)] | None = None,
    channels: Literal[1, 3] = 3,
    batch_size: Annotated[int, Field(gt=0)] = 128,
    validation: HeldOut = None,
    test: HeldOut = None,
    split_seed: Annotated[int, Field(ge=0)] = 0,
    train_limit: Annotated[int, Field(gt=0)] | None = None,
    crop: Annotated[int, Field(ge=0)] = 4,
    flip: bool = True,
    cutout: Annotated[int, Field(ge=0)] = 0,
    mixup: Annotated[float, Field(ge=0)] = 0.0,
) -> ImageBatches:
    """Pictures in folders, one a class, with or without folders train, val and test around them."""
    where = Path(folder).expanduser()
    files, classes = find_pictures(where)
    paths = [path for split in files.values() for path in split.paths]
    key = cache.key(paths, where, reader=_READER, size=size, channels=channels)

    def build() -> cache.Content:
        pixels = decode_all(paths, lambda index: str(paths[index]), channels, size)
        arrays, start = {}, 0
        for split, pictures in files.items():
            arrays[f"{split}_images"] = pixels[start : start + len(pictures.paths)].clone()
            arrays[f"{split}_labels"] = pictures.labels
            start += len(pictures.paths)
        return arrays, facts_of(arrays, classes, where.name)

    splits, about = from_cache(cache.cached(cache.folder(context.root) / f"images-{key}.safetensors", build))
    return own_images(
        splits,
        about,
        context,
        batch_size=batch_size,
        validation=validation,
        test=test,
        split_seed=split_seed,
        train_limit=train_limit,
        crop=crop,
        flip=flip,
        cutout=cutout,
        mixup=mixup,
    )
