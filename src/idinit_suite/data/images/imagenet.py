"""ImageNet, or any pictures in its layout, streamed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pyarrow import compute
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from idinit.errors import UsageError

from ...errors import first_line
from ..base import DATASETS, DatasetInfo
from ..context import DataContext
from ..downloads import set_hub_offline_if_unreachable
from ..hidden import is_hidden, visible
from ..locate import other_data
from ..spec import Images
from ..splits import HeldOut, SplitOptions
from .listing import Listing, listing_checksum
from .load import ImageFacts
from .mixing import Mixing
from .shards import Shards
from .streaming import Reader, Split, StreamedImages
from .worker_transforms import Evaluation, Training

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as the field uses them
SIZES = {"train": 1_281_167, "test": 50_000}
_NAMES = {"train": ("train",), "test": ("val", "validation")}  # its own test split has no labels


@DATASETS.register("imagenet", DatasetInfo(Images))
def imagenet(
    context: DataContext,
    *,
    folder: str = "imagenet",
    size: Annotated[int, Field(ge=16)] = 224,
    batch_size: PositiveInt = 256,
    validation: HeldOut = 10_000,
    test: HeldOut = None,
    split_seed: NonNegativeInt = 0,
    train_limit: PositiveInt | None = None,
    min_scale: Annotated[float, Field(gt=0, le=1)] = 0.08,
    flip: bool = True,
    randaugment: Annotated[int, Field(ge=0, le=30)] = 0,
    erasing: Annotated[float, Field(ge=0, le=1)] = 0.0,
    mixup: NonNegativeFloat = 0.0,
    cutmix: NonNegativeFloat = 0.0,
    crop_pct: Annotated[float, Field(gt=0, le=1)] = 0.875,
    interpolation: Literal["bilinear", "bicubic"] = "bilinear",
) -> StreamedImages:
    """ImageNet: a folder with train and val, each a folder a class or a tar file of these, or hfds/OWNER/NAME, or wds/FOLDER.

    hfds/ is for a data set of the hub or a folder of tables, wds/ for a folder of shards of the webdataset format. The
    validation split, whose labels are public, is the test split here; validation is held out of the training split.
    """
    readers = _readers(folder, context.root)
    listings = {split: _listing(reader, f"data.folder={folder}, {split}") for split, reader in readers.items()}
    labels = listings["train"].labels
    classes = 1 + int(labels.max())
    if classes < 2:
        raise UsageError(f"data.folder={folder}: all pictures are of one class, and a classifier needs two")
    counts = {split: len(reader) for split, reader in readers.items()}
    title = "ImageNet" if counts == SIZES else other_data("ImageNet", counts)
    found = {split: Split(reader, torch.arange(counts[split])) for split, reader in readers.items()}
    fill = [round(255 * value) for value in MEAN]
    return StreamedImages(
        SplitOptions(validation, test, split_seed, train_limit).whole(found, labels, Split.pick),
        ImageFacts(classes, MEAN, STD, listing_checksum(listings), title, {"classes": classes}),
        context,
        batch_size=batch_size,
        training=Training(size, min_scale, flip, randaugment, erasing, fill, interpolation),
        evaluation=Evaluation(size, crop_pct, interpolation),
        shape=(3, size, size),
        mixing=Mixing(mixup, cutmix),
    )


def _readers(folder: str, root: Path) -> dict[str, Any]:
    """Readers of the splits that are there: timm's, or `Shards`.

    Raises:
        UsageError: If there is no training split, or the splits have other classes.
    """
    kind, _, name = folder.partition("/")
    where = root / Path(name if kind == "wds" else folder).expanduser()
    try:
        match kind:
            case "hfds":
                found = _hub_readers(name, root)
            case "wds":
                found = _shard_readers(where)
            case _:
                found = _file_readers(where)
    except Exception as error:  # of many libraries
        raise UsageError(f"data.folder={folder} cannot be read ({first_line(error)})") from error
    if "train" not in found:
        raise UsageError(
            f"data 'imagenet': there is no {where / 'train'} and no {where / 'train.tar'}: set the data root (DATA=... with "
            "make, paths.data=... otherwise) and data.folder to where train and val are, a folder a class in each; or to "
            "hfds/OWNER/NAME of the hub, hfds/FOLDER of tables, or wds/FOLDER of shards such as imagenet-train-0000.tar"
        )
    classes = [_classes(reader) for reader in found.values()]
    if any(those != classes[0] for those in classes):
        raise UsageError(f"data.folder={folder}: the classes of {' and '.join(found)} are not the same")
    return found


def _shard_readers(where: Path) -> dict[str, Any]:
    """Readers of the shards in a folder: ``train-0000.tar``, or with the name of a data set before."""
    tars = {split: [path for name in names for path in visible(where, f"*{name}-*.tar")] for split, names in _NAMES.items()}
    return {split: Shards(sorted(files)) for split, files in tars.items() if files}


def _classes(reader: Any) -> dict[str, int] | None:
    """The number of each class by its name; None for tables, which hold numbers."""
    names = ("class_to_idx", "class_name_to_idx")  # of folders, of tar files
    return next((getattr(reader, name) for name in names if hasattr(reader, name)), None)


def _file_readers(where: Path) -> dict[str, Any]:
    """timm's readers of the folders and tar files in a folder."""
    from timm.data.readers import create_reader

    found: dict[str, Any] = {}
    for split, names in _NAMES.items():
        places = [path for name in names for path in (where / name, where / f"{name}.tar") if path.exists()]
        if places:
            _require_current_index(places[0])
            found[split] = create_reader("", str(places[0]))
            _leave_out_hidden(found[split])
    return found


def _leave_out_hidden(reader: Any) -> None:
    """Takes out of timm's reader what systems and editors hide beside pictures: ``._x.jpg``, ``.ipynb_checkpoints``.

    Raises:
        OSError: If there is nothing else.
    """
    is_tar = hasattr(reader, "targets")
    names = [sample[0].name if is_tar else sample[0][len(reader.root) + 1 :] for sample in reader.samples]
    labels = reader.targets.tolist() if is_tar else [label for _, label in reader.samples]
    kept = [index for index, name in enumerate(names) if not is_hidden(name)]
    if not kept:
        raise OSError("all its files are hidden")
    numbers = {old: new for new, old in enumerate(sorted({labels[index] for index in kept}))}
    classes = {name: numbers[old] for name, old in (_classes(reader) or {}).items() if old in numbers}
    labels = [numbers[labels[index]] for index in kept]
    if is_tar:
        reader.samples, reader.targets, reader.class_name_to_idx = reader.samples[kept], np.array(labels), classes
    else:
        paths = [reader.samples[index][0] for index in kept]
        reader.samples, reader.class_to_idx = list(zip(paths, labels, strict=True)), classes


def _require_current_index(place: Path) -> None:
    """Makes sure that the index that timm keeps beside large tar files is not of what was there before.

    Raises:
        OSError: If it is older than they are.
    """
    index = place.parent / f"_{place.stem}_tarinfos.pickle" if place.is_file() else place / f"_{place.name}_tarinfos.pickle"
    tars = [place] if place.is_file() else visible(place, "*.tar")
    if index.exists() and any(tar.stat().st_mtime > index.stat().st_mtime for tar in tars):
        raise OSError(f"the index {index.name} is older than its tar files: delete it")


def _hub_readers(name: str, root: Path) -> dict[str, Any]:
    """timm's readers of a data set of the hub, OWNER/NAME, or of a folder of tables in the data root."""
    from timm.data.readers import create_reader

    set_hub_offline_if_unreachable()
    place = root / Path(name).expanduser()
    found: dict[str, Any] = {}
    for split, names in _NAMES.items():
        for usual in names:
            try:
                found[split] = create_reader(f"hfds/{place if place.is_dir() else name}", str(root / "hub"), split=usual)
            except ValueError as error:
                if not str(error).startswith("Unknown split") or split == "train":
                    raise
    return found


def _listing(reader: Reader, source: str) -> Listing:
    if isinstance(reader, Shards):
        return reader.listing
    samples: Any = getattr(reader, "samples", None)
    if samples is None:
        return _hub_listing(reader, source)
    names = [reader.filename(index) for index in range(len(reader))]
    if hasattr(reader, "targets"):  # of a tar file
        return Listing(names, [entry.size for entry, *_ in samples], torch.tensor(reader.targets))
    return Listing(names, [Path(path).stat().st_size for path, _ in samples], torch.tensor([label for _, label in samples]))


def _hub_listing(reader: Any, source: str) -> Listing:
    """The listing of a table, of which only columns without pictures are read.

    Raises:
        UsageError: If a picture or a label is missing, or labels are not classes.
    """
    pictures, labels = reader.dataset.data.column(reader.image_key), reader.dataset[reader.label_key]
    if not all(isinstance(label, int) and label >= 0 for label in labels):
        raise UsageError(f"{source}: column '{reader.label_key}' must number the classes from 0 in each row")
    paths = compute.struct_field(pictures, "path").to_pylist()
    sizes = compute.binary_length(compute.struct_field(pictures, "bytes")).to_pylist()
    for row, (path, size) in enumerate(zip(paths, sizes, strict=True)):
        if not path and not size:
            raise UsageError(f"{source}, row {row + 1}: the picture is missing: delete the row or fill it")
        sizes[row] = size or Path(path).stat().st_size
    return Listing([Path(path).name if path else "" for path in paths], sizes, torch.tensor(list(labels)))
