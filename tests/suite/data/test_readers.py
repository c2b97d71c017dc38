from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from image_layouts import tiny, write_idx, write_parquet
from sklearn.datasets import load_digits

from idinit.errors import UsageError
from idinit_suite.data.readers import Damaged, Decoded, read_cifar, read_digits, read_idx, read_parquet

IDX = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


def assert_same(read: Decoded, written: Decoded) -> None:
    for split in ("train", "test"):
        assert read.images[split].dtype == torch.uint8
        assert torch.equal(read.images[split], written.images[split])
        assert read.labels[split].dtype == torch.int64
        assert torch.equal(read.labels[split], written.labels[split])
    assert read.classes == written.classes


def tables(folder: Path) -> dict[str, list[Path]]:
    return {split: sorted(folder.glob(f"{split}-*")) for split in ("train", "test")}


def idx_files(folder: Path, suffix: str = "") -> dict[str, Path]:
    return {name[:-5]: folder / f"{name}-ubyte{suffix}" for name in IDX}


def test_cifar(tmp_path: Path, write_cifar10: Callable[[Path, Decoded], None]) -> None:
    written = tiny()
    write_cifar10(tmp_path, written)
    assert_same(read_cifar(tmp_path, "CIFAR10"), written)


@pytest.mark.parametrize("name", ["data_batch_4", "test_batch", "batches.meta"])
def test_a_damaged_cifar_file_is_named(tmp_path, write_cifar10, name) -> None:
    write_cifar10(tmp_path, tiny())
    path = tmp_path / "cifar-10-batches-py" / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(Damaged, match=rf"{path} .*MD5.*download it again$"):
        read_cifar(tmp_path, "CIFAR10")
    path.unlink()
    with pytest.raises(Damaged, match=rf"{path} .*missing"):
        read_cifar(tmp_path, "CIFAR10")


@pytest.mark.parametrize("compress", [False, True])
def test_idx(tmp_path: Path, compress: bool) -> None:
    written = tiny(channels=1, side=28)
    write_idx(tmp_path / "raw", written, compress)
    assert_same(read_idx(idx_files(tmp_path / "raw", ".gz" if compress else ""), written.classes), written)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("length", [0, 3, 10, 1000])
def test_an_idx_file_cut_short_is_named(tmp_path: Path, compress: bool, length: int) -> None:
    write_idx(tmp_path / "raw", tiny(channels=1, side=28), compress)
    files = idx_files(tmp_path / "raw", ".gz" if compress else "")
    path = files["train-images"]
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(Damaged, match=re.escape(str(path))):
        read_idx(files, ())


def test_a_file_that_is_not_idx_is_named(tmp_path: Path) -> None:
    write_idx(tmp_path / "raw", tiny(channels=1, side=28), compress=True)
    files = idx_files(tmp_path / "raw", ".gz")
    files["t10k-labels"].write_bytes(gzip.compress(b"<html>not found</html>"))
    with pytest.raises(Damaged, match=r"t10k-labels-idx1-ubyte\.gz .*IDX"):
        read_idx(files, ())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shards", [1, 3])
def test_parquet_of_png_is_lossless(tmp_path: Path, channels: int, shards: int) -> None:
    written = tiny(channels=channels)
    write_parquet(tmp_path / "tables", written, shards=shards)
    read = read_parquet(tables(tmp_path / "tables"), "img", "label", channels)
    assert_same(read, written)
    assert not read.jpeg


def test_parquet_of_jpeg_says_so(tmp_path: Path) -> None:
    written = tiny()
    smooth = {split: images // 8 + 100 for split, images in written.images.items()}
    write_parquet(tmp_path / "tables", Decoded(smooth, written.labels, written.classes), kind="JPEG")
    read = read_parquet(tables(tmp_path / "tables"), "img", "label", 3)
    assert read.jpeg
    difference = (read.images["test"].float() - smooth["test"].float()).abs()
    assert 0 < difference.mean() < 10


def test_classes_without_names(tmp_path: Path) -> None:
    write_parquet(tmp_path / "tables", tiny())
    for paths in tables(tmp_path / "tables").values():
        pq.write_table(pq.read_table(paths[0]).replace_schema_metadata(None), paths[0])
    assert read_parquet(tables(tmp_path / "tables"), "img", "label", 3).classes == ()


@pytest.mark.parametrize("length", [0, 100, 20_000])
def test_a_parquet_file_cut_short_is_named(tmp_path: Path, length: int) -> None:
    write_parquet(tmp_path / "tables", tiny())
    files = tables(tmp_path / "tables")
    path = files["test"][0]
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(Damaged, match=re.escape(str(path))):
        read_parquet(files, "img", "label", 3)


@pytest.mark.parametrize("damaged", [b"", b"\x89PNG\r\n\x1a\nnot an image", None])
def test_a_damaged_image_is_named_by_its_row(tmp_path: Path, damaged: bytes | None) -> None:
    write_parquet(tmp_path / "tables", tiny())
    files = tables(tmp_path / "tables")
    table = pq.read_table(files["train"][0])
    rows = table.column("img").to_pylist()
    rows[7]["bytes"] = rows[7]["bytes"][:-1000] if damaged is None else damaged
    pq.write_table(table.set_column(0, "img", pa.array(rows)), files["train"][0])
    with pytest.raises(UsageError, match="row 7"):
        read_parquet(files, "img", "label", 3)


@pytest.mark.parametrize("column", ["img", "label"])
def test_an_empty_cell_is_named_by_its_row(tmp_path: Path, column: str) -> None:
    write_parquet(tmp_path / "data", tiny())
    (path,) = tables(tmp_path / "data")["train"]
    table = pq.read_table(path)
    cells = table.column(column).to_pylist()
    cells[7] = None
    index = table.column_names.index(column)
    pq.write_table(table.set_column(index, column, pa.array(cells, table.schema.field(column).type)), path)
    with pytest.raises(UsageError, match=rf"{re.escape(str(path))}, row 7: .*'{column}'"):
        read_parquet(tables(tmp_path / "data"), "img", "label", 3)


def test_another_sets_table_is_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "tables", tiny())
    with pytest.raises(UsageError, match="fine_label.*img, label"):
        read_parquet(tables(tmp_path / "tables"), "img", "fine_label", 3)


@pytest.mark.parametrize("side", [16, 32])
def test_digits_are_split_once_and_for_all(side: int) -> None:
    digits = read_digits(side)
    assert digits.images["train"].shape == (1437, 1, side, side)
    assert digits.images["test"].shape == (360, 1, side, side)
    shares = torch.bincount(digits.labels["test"]) / torch.bincount(torch.cat(list(digits.labels.values())))
    assert (shares - 360 / 1797).abs().max() < 0.01
    assert digits.classes == tuple("0123456789")
    again = read_digits(side)
    assert all(torch.equal(again.images[split], digits.images[split]) for split in digits.images)


def test_digits_are_enlarged_bilinearly() -> None:
    small = load_digits()
    digits = read_digits(32)
    # Every test image is one of the originals: interpolated by hand, and found again by its exact pixels.
    originals = {tuple(enlarged(image)): int(label) for image, label in zip(small.images, small.target, strict=True)}
    for image, label in zip(digits.images["test"][:40], digits.labels["test"][:40], strict=True):
        assert originals[tuple(image.flatten().tolist())] == int(label)


def enlarged(image) -> list[int]:
    """Pixel (i, j) of 32x32 lies at ((i + 1/2)/4 - 1/2, ...) of 8x8, clamped to the border."""
    weights = torch.zeros(32, 8, dtype=torch.float64)
    for i in range(32):
        position = min(max((i + 0.5) / 4 - 0.5, 0), 7)
        low = min(int(position), 6)
        weights[i, low + 1] = position - low
        weights[i, low] = 1 - (position - low)
    return (weights @ torch.from_numpy(image) @ weights.T * 255 / 16).round().long().flatten().tolist()
