"""The pictures in a folder: which there are, and of which class and split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from idinit.errors import UsageError, did_you_mean

from ...words import pluralize
from ..hidden import is_hidden, visible
from ..pictures import unreadable

SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test", "testing"),
}


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

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[BinaryIO, int]:
        """A picture's file and class, as a `Reader` gives them."""
        return self.paths[index].open("rb"), int(self.labels[index])

    def filename(self, index: int, absolute: bool = False) -> str:
        """A picture's path."""
        return str(self.paths[index])


def find_pictures(folder: Path) -> tuple[dict[str, PictureFiles], tuple[str, ...]]:
    """Finds the pictures of a folder.

    Args:
        folder: Holds ``train`` and perhaps ``val`` and ``test``, each with a folder a class; or the folders of the classes.
            Hidden files, and files whose ending is not a picture's, are passed over.

    Returns:
        Split -> its pictures, and the names of the classes.

    Raises:
        UsageError: If there is no such folder, a class without a picture, a class that is not in the training split, or fewer
            than two classes.
    """
    if not folder.is_dir():
        raise UsageError(f"data.folder={folder}: there is no such folder: give one with a folder of pictures for each class")
    for split, usual in SPLITS.items():
        if len(several := [name for name in _folders(folder) if name.lower() in usual]) > 1:
            raise UsageError(f"data.folder={folder}: {', '.join(several)} are all the {split} split: leave one of them there")
    places = {split: folder / name for split, name in split_names(_folders(folder)).items()}
    if not places:
        places = {"train": folder}
    if "train" not in places:
        raise UsageError(f"data.folder={folder}: there is {', '.join(p.name for p in places.values())} and no folder train")
    classes = _folders(places["train"])
    if len(classes) < 2:
        raise UsageError(
            f"{places['train']} holds {pluralize(len(classes), 'folder')} ({', '.join(classes) or 'none'}), and a classifier "
            "needs two classes: make a folder for each"
        )
    return {split: _pictures(place, classes) for split, place in places.items()}, classes


def _folders(place: Path) -> tuple[str, ...]:
    return tuple(entry.name for entry in visible(place) if entry.is_dir())


def _pictures(place: Path, classes: Sequence[str]) -> PictureFiles:
    from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset  # slow to import

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
        if not is_hidden(Path(path).relative_to(place))
    ]
    if empty := set(numbers.values()) - {label for _, label in found}:
        raise UsageError(
            f"{place / classes[min(empty)]} holds no pictures (files ending in {', '.join(IMG_EXTENSIONS)}): "
            "fill it or delete it"
        )
    if gone := [path for path, _ in found if not path.exists()]:
        raise unreadable(str(gone[0]), "a link to a file that is not there")
    paths, labels = zip(*found, strict=True)
    return PictureFiles(paths, torch.tensor(labels))
