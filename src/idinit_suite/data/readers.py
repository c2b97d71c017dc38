"""Image files in their usual layouts -> arrays."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pyarrow import ArrowException, Table
from pyarrow.parquet import read_table
from torch import Tensor
from torch.nn.functional import interpolate

from idinit.errors import UsageError

from .pictures import decode_all
from .splits import stratified_order


@dataclass(frozen=True)
class Decoded:
    """A data set as read.

    Attributes:
        images: Of ``train`` and ``test``, uint8 [N, C, H, W].
        labels: Of ``train`` and ``test``, int64 [N].
        classes: Names of the classes in the order of the labels.
        jpeg: Whether the images were stored as JPEG, so that their pixels are not the original ones.
    """

    images: dict[str, Tensor]
    labels: dict[str, Tensor]
    classes: tuple[str, ...]
    jpeg: bool = False


class Damaged(UsageError):
    """A file of a data set cannot be read."""

    def __init__(self, path: Path, reason: object) -> None:
        super().__init__(f"data file {path} cannot be read ({reason}): delete it and copy or download it again")


def read_cifar(folder: Path, dataset: str) -> Decoded:
    """Reads CIFAR as torchvision keeps it, after checking every file against torchvision's MD5 sums.

    Args:
        folder: The data root.
        dataset: Name of the class in ``torchvision.datasets``.
    """
    from torchvision import datasets

    cifar = getattr(datasets, dataset)
    expected = [*cifar.train_list, *cifar.test_list, (cifar.meta["filename"], cifar.meta["md5"])]
    for name, md5 in expected:
        path = folder / cifar.base_folder / name
        if not datasets.utils.check_integrity(str(path), md5):
            raise Damaged(path, "MD5 sum differs" if path.exists() else "missing")
    splits = {"train": cifar(folder, train=True), "test": cifar(folder, train=False)}
    return Decoded(
        {name: torch.from_numpy(split.data).permute(0, 3, 1, 2).contiguous() for name, split in splits.items()},
        {name: torch.tensor(split.targets) for name, split in splits.items()},
        tuple(splits["train"].classes),
    )


def read_idx(files: Mapping[str, Path], classes: Sequence[str]) -> Decoded:
    """Reads the IDX format of MNIST and its successors, plain or compressed with gzip.

    Args:
        files: ``train-images``, ``train-labels``, ``t10k-images`` and ``t10k-labels``.
        classes: Names of the classes.
    """
    arrays = {name: torch.from_numpy(_idx_array(path)) for name, path in files.items()}
    names = {"train": "train", "test": "t10k"}
    return Decoded(
        {split: arrays[f"{name}-images"][:, None] for split, name in names.items()},
        {split: arrays[f"{name}-labels"].long() for split, name in names.items()},
        tuple(classes),
    )


def _idx_array(path: Path) -> np.ndarray:
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        # Two zero bytes, the type (8: unsigned byte), the number of dimensions; the dimensions as big-endian int32.
        zero, kind, dimensions = struct.unpack_from(">HBB", content)
        if (zero, kind) != (0, 8):
            raise ValueError("not an IDX file of bytes")
        shape = struct.unpack_from(f">{dimensions}i", content, 4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape).copy()
    except (OSError, EOFError, zlib.error, struct.error, ValueError) as error:
        raise Damaged(path, error) from None


def read_parquet(files: Mapping[str, Sequence[Path]], image: str, label: str, channels: int) -> Decoded:
    """Reads image files kept in parquet tables, as the Hugging Face hub does.

    Args:
        files: The tables of ``train`` and ``test``, in order.
        image: Column of structs with a field ``bytes``: a PNG or JPEG file.
        label: Column of class numbers.
        channels: 3 for colour, 1 for grey.
    """
    images: dict[str, Tensor] = {}
    labels: dict[str, Tensor] = {}
    classes: tuple[str, ...] = ()
    jpeg = False
    for split, paths in files.items():
        tables = [_table(path, (image, label)) for path in paths]
        encoded = [row["bytes"] for table in tables for row in table.column(image).to_pylist()]
        places = [
            f"data file {path}, row {row}" for path, table in zip(paths, tables, strict=True) for row in range(len(table))
        ]
        images[split] = decode_all(encoded, places.__getitem__, channels, None)
        labels[split] = torch.tensor([number for table in tables for number in table.column(label).to_pylist()])
        classes = _class_names(tables[0].schema.metadata, label)
        jpeg = jpeg or encoded[0].startswith(b"\xff\xd8\xff")
    return Decoded(images, labels, classes, jpeg)


def parquet_table(path: Path) -> Table:
    """A parquet file as a table.

    Raises:
        UsageError: If it is damaged.
    """
    try:
        return read_table(path)
    except (ArrowException, OSError) as error:
        raise Damaged(path, error) from None


def _table(path: Path, columns: Sequence[str]) -> Table:
    """A table that has some columns, with a value in each row."""
    table = parquet_table(path)
    if missing := set(columns) - set(table.column_names):
        raise UsageError(
            f"data file {path} has no column {', '.join(sorted(missing))}, only {', '.join(table.column_names)}: "
            "it is another data set's, or in another layout"
        )
    for name in columns:
        if table.column(name).null_count:
            row = table.column(name).is_null().index(True).as_py()
            raise UsageError(f"data file {path}, row {row}: column '{name}' is empty (null): fill it or delete the row")
    return table


def _class_names(metadata: Mapping[bytes, bytes] | None, label: str) -> tuple[str, ...]:
    """Names of the classes as the Hugging Face `datasets` library writes them beside a table; empty without them."""
    info = json.loads((metadata or {}).get(b"huggingface", b"{}"))
    return tuple(info.get("info", {}).get("features", {}).get(label, {}).get("names", ()))


def read_digits(side: int) -> Decoded:
    """Reads scikit-learn's handwritten digits, 8x8 with values 0 to 16, and enlarges them to ``side`` pixels: 16 or 32.

    Enlarged by bilinear interpolation and scaled to 0..255; the numbers are small fractions, exact in float32, so every
    machine gets the same pixels. Scikit-learn gives no split: 360 of the 1,797, stratified by class with a fixed seed,
    are the test set.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    small = torch.from_numpy(digits.images).float()[:, None]
    images = interpolate(small, size=(side, side), mode="bilinear").mul(255 / 16).round().to(torch.uint8)
    labels = torch.from_numpy(digits.target).long()
    order = stratified_order(labels, seed=0)
    rows = {"train": order[360:], "test": order[:360]}
    return Decoded(
        {split: images[chosen] for split, chosen in rows.items()},
        {split: labels[chosen] for split, chosen in rows.items()},
        tuple(str(name) for name in digits.target_names),
    )
