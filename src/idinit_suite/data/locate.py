"""Locators of data sets: the places where one may be, tried in turn."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from idinit.errors import UsageError

from ..errors import first_line
from .cache import is_writable
from .downloads import hub_file, require_internet
from .hidden import visible
from .readers import Damaged, Decoded, read_cifar, read_digits, read_idx, read_parquet

T = TypeVar("T")

_OTHER = "other data: "


@dataclass(frozen=True)
class Source(Generic[T]):
    """A data set that was found.

    Attributes:
        files: Its files, whose names, sizes and times show whether it has changed.
        read: Reads them.
    """

    files: tuple[Path, ...]
    read: Callable[[], T]


class NotHere(Exception):
    """A data set is not at a location; the message names the location and says why."""


#: A locator looks for a data set, given the data root; it returns what it found or raises NotHere.
Locator = Callable[[Path], Source[T]]


def resolve(
    name: str, places: tuple[Locator[T], ...], root: Path, layout: str = "torchvision's or the Hugging Face layout"
) -> Source[T]:
    """The first place that has a data set.

    Args:
        name: Its name.
        places: Where to look.
        root: The data root.
        layout: How its files should lie in the data root, as the remedy says it.

    Raises:
        UsageError: If none has; the message names every place tried, why it failed, and the remedy.
    """
    tried: list[str] = []
    for place in places:
        try:
            return place(root)
        except NotHere as reason:
            tried.append(f"({len(tried) + 1}) {reason}")
    raise UsageError(
        f"data set '{name}' was not found. Tried: {'; '.join(tried)}. "
        "Remedy: set the data root (DATA=... with make, paths.data=... otherwise) to a folder that holds it in "
        f"{layout}, or run once with internet"
    )


def other_data(title: str, sizes: Mapping[str, int]) -> str:
    """The title of files that are at the location of a known set, and are not that set."""
    return f"{title} ({_OTHER}{', '.join(f'{count} {split}' for split, count in sizes.items())})"


def is_other_data(title: str) -> bool:
    """Whether a title is one that `other_data` made."""
    return f" ({_OTHER}" in title


def scikit_learn(side: int) -> Locator[Decoded]:
    """The handwritten digits inside scikit-learn, enlarged to ``side`` pixels."""
    return lambda root: Source((), partial(read_digits, side))


def cifar_folder(dataset: str, folder: str) -> Locator[Decoded]:
    """The data root in torchvision's layout: ``cifar-10-batches-py/data_batch_1`` and its like."""

    def find(root: Path) -> Source[Decoded]:
        place = root / folder
        if not place.is_dir():
            raise NotHere(f"torchvision's layout: there is no folder {place}")
        return Source(tuple(visible(place)), lambda: read_cifar(root, dataset))

    return find


def idx_folder(folder: str, owner: str, classes: tuple[str, ...]) -> Locator[Decoded]:
    """IDX files, with or without ``.gz``, in a folder of the data root, or anywhere if the folder is absolute."""

    def find(root: Path) -> Source[Decoded]:
        place = root / folder
        names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
        if not any(place.glob("train-images-idx3-ubyte*")):
            raise NotHere(f"{owner}: there is no {place / 'train-images-idx3-ubyte'} or .gz")
        plain = {name[:-5]: place / f"{name}-ubyte" for name in names}
        files = all_of({key: p if p.exists() else p.with_name(f"{p.name}.gz") for key, p in plain.items()})
        return Source(tuple(files.values()), lambda: read_idx(files, classes))

    return find


@dataclass(frozen=True)
class Parquet:
    """A data set on the Hugging Face hub.

    Attributes:
        repository: Its name there.
        folder: The folder of its tables.
        image: Column of images.
        label: Column of class numbers.
        channels: 3 for colour, 1 for grey.
    """

    repository: str
    folder: str
    image: str
    label: str
    channels: int

    def source(self, files: Mapping[str, list[Path]]) -> Source[Decoded]:
        """The tables of ``train`` and ``test`` as a source."""
        return Source((*files["train"], *files["test"]), lambda: read_parquet(files, self.image, self.label, self.channels))


def parquet_folder(name: str, tables: Parquet) -> Locator[Decoded]:
    """The data root in the hub's layout: ``cifar10/plain_text/train-00000-of-00001.parquet``."""

    def find(root: Path) -> Source[Decoded]:
        folder = root / name / tables.folder
        files = {split: sorted(folder.glob(f"{split}-*.parquet")) for split in ("train", "test")}
        if not files["train"]:
            raise NotHere(f"Hugging Face parquet layout: there is no {folder / 'train-*.parquet'}")
        if not files["test"]:
            raise Damaged(folder / "test-*.parquet", "missing beside the training tables")
        return tables.source(files)

    return find


def torchvision_download(dataset: str, then: Locator[Decoded]) -> Locator[Decoded]:
    """Download by torchvision into the data root, where another place then finds it."""

    def find(root: Path) -> Source[Decoded]:
        with attempt("download by torchvision"):
            if not is_writable(root):
                raise PermissionError(f"the data root {root} is read-only")
            from torchvision import datasets

            cls = getattr(datasets, dataset)
            require_internet(cls.url if hasattr(cls, "url") else cls.mirrors[0] + cls.resources[0][0])
            cls(root, download=True)
        return then(root)

    return find


def hub(tables: Parquet) -> Locator[Decoded]:
    """The Hugging Face hub, or what an earlier download has left in its cache."""

    def find(root: Path) -> Source[Decoded]:
        names = {split: f"{tables.folder}/{split}-00000-of-00001.parquet" for split in ("train", "test")}
        with attempt(f"Hugging Face hub, {tables.repository}"):
            files = {split: [hub_file(tables.repository, name, repo_type="dataset")] for split, name in names.items()}
        return tables.source(files)

    return find


@contextlib.contextmanager
def attempt(place: str) -> Iterator[None]:
    """Turns any error, of many libraries, into `NotHere`, so that the next location is tried."""
    try:
        yield
    except Exception as error:
        raise NotHere(f"{place}: {first_line(error)}") from None


def all_of(files: Mapping[str, Path]) -> dict[str, Path]:
    """The files, all of which must be there.

    Raises:
        UsageError: Naming the first that is not.
    """
    for path in files.values():
        if not path.exists():
            raise Damaged(path, "missing beside the others")
    return dict(files)
