"""ImageNet, or any pictures in its layout, streamed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from idinit.errors import UsageError

from ..base import DATASETS, DatasetInfo
from ..context import DataContext
from ..locate import other_data, reason_of
from ..spec import Images
from ..splits import HeldOut, whole_splits
from .load import ImageFacts
from .mixing import Mixing
from .streaming import Reader, Split, StreamedImages, listing_checksum
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
    batch_size: Annotated[int, Field(gt=0)] = 256,
    validation: HeldOut = 10_000,
    test: HeldOut = None,
    split_seed: Annotated[int, Field(ge=0)] = 0,
    train_limit: Annotated[int, Field(gt=0)] | None = None,
    min_scale: Annotated[float, Field(gt=0, le=1)] = 0.08,
    flip: bool = True,
    randaugment: Annotated[int, Field(ge=0, le=30)] = 0,
    erasing: Annotated[float, Field(ge=0, le=1)] = 0.0,
    mixup: Annotated[float, Field(ge=0)] = 0.0,
    cutmix: Annotated[float, Field(ge=0)] = 0.0,
    crop_pct: Annotated[float, Field(gt=0, le=1)] = 0.875,
    interpolation: Literal["bilinear", "bicubic"] = "bilinear",
) -> StreamedImages:
    """ImageNet: a folder with train and val, each a folder a class or a tar file of these, or hfds/OWNER/NAME of the hub.

    Its validation split, whose labels are public, is the test split here; validation is held out of the training split.
    """
    readers = _readers(folder, context.root)
    labels, sizes = {}, {}
    for split, reader in readers.items():
        labels[split], sizes[split] = _listing(reader)
    classes = 1 + int(labels["train"].max())
    if classes < 2:
        raise UsageError(f"data.folder={folder}: all pictures are of one class, and a classifier needs two")
    counts = {split: len(reader) for split, reader in readers.items()}
    title = "ImageNet" if counts == SIZES else other_data("ImageNet", counts)
    found = {split: Split(reader, torch.arange(counts[split])) for split, reader in readers.items()}
    fill = [round(255 * value) for value in MEAN]
    return StreamedImages(
        whole_splits(found, labels["train"], _pick, validation, test, split_seed, train_limit),
        ImageFacts(classes, MEAN, STD, listing_checksum(readers, sizes, labels), title, {"classes": classes}),
        context,
        batch_size=batch_size,
        training=Training(size, min_scale, flip, randaugment, erasing, fill, interpolation),
        evaluation=Evaluation(size, crop_pct, interpolation),
        size=size,
        mixing=Mixing(mixup, cutmix),
    )


def _pick(split: Split, rows: Tensor) -> Split:
    return Split(split.reader, rows)


def _readers(folder: str, root: Path) -> dict[str, Any]:
    """timm's readers of the splits that are there.

    Raises:
        UsageError: If there is no training split, or the splits have other classes.
    """
    from timm.data.readers import create_reader

    found: dict[str, Any] = {}
    try:
        if folder.startswith("hfds/"):
            return {split: create_reader(folder, str(root / "hub"), split=_NAMES[split][-1]) for split in _NAMES}
        where = root / Path(folder).expanduser()
        for split, names in _NAMES.items():
            places = [path for name in names for path in (where / name, where / f"{name}.tar") if path.exists()]
            if places:
                found[split] = create_reader("", str(places[0]))
    except Exception as error:  # of many libraries
        raise UsageError(f"data.folder={folder} cannot be read ({reason_of(error)})") from error
    if "train" not in found:
        raise UsageError(
            f"data 'imagenet': there is no {where / 'train'} and no {where / 'train.tar'}: set the data root (DATA=... with "
            "make, paths.data=... otherwise) and data.folder to where train and val are, a folder a class in each"
        )
    classes = [getattr(reader, "class_to_idx", None) for reader in found.values()]
    if any(those != classes[0] for those in classes):
        raise UsageError(f"data.folder={folder}: the classes of {' and '.join(found)} are not the same")
    return found


def _listing(reader: Reader) -> tuple[Tensor, list[int]]:
    """Classes of all pictures, int64 [N], and the sizes of their files where these are known without reading."""
    samples: Any = getattr(reader, "samples", None)
    if samples is None:
        dataset: Any = reader.dataset  # type: ignore[attr-defined]
        return torch.tensor(dataset[reader.label_key]), [0] * len(reader)  # type: ignore[attr-defined]
    if hasattr(reader, "targets"):  # of a tar file
        return torch.tensor(reader.targets), [entry.size for entry, *_ in samples]
    return torch.tensor([label for _, label in samples]), [Path(path).stat().st_size for path, _ in samples]
