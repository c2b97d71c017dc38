"""A folder of pictures that does not fit into memory gives the batches that it would give from memory."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from picture_folders import write_pictures
from torch import Tensor

from idinit.errors import UsageError
from idinit_suite.data import DATASETS, Batches, DataContext, Images, Mixed
from idinit_suite.data.images.batches import ImageBatches
from idinit_suite.data.images.streaming import StreamedImages

AUGMENTED = {"crop": 2, "flip": True, "cutout": 3}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures", 12)


def build(folder: Path, workers: int = 0, rank: int = 0, world_size: int = 1, **options: Any) -> Batches:
    context = DataContext(folder.parent / "root", 3, rank=rank, world_size=world_size, workers=workers)
    given = {"folder": str(folder), "size": 8, "batch_size": 6, **options}
    return DATASETS["image_folder"].build(context, **DATASETS.check("image_folder", given))


def tensors(batch: Any) -> list[Tensor]:
    (images,), labels = batch
    return [images, *(labels if isinstance(labels, Mixed) else [labels])]


def assert_equal(one: Any, two: Any) -> None:
    assert all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(two), strict=True))


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda count: monkeypatch.setattr("idinit_suite.data.own.image_folder.MEMORY", count)


def test_what_does_not_fit_into_memory_is_streamed(folder: Path, limit: Any) -> None:
    decoded = 36 * 8 * 8
    for channels in (1, 3):
        limit(channels * decoded)
        assert isinstance(build(folder, channels=channels), ImageBatches)
        limit(channels * decoded - 1)
        assert isinstance(build(folder, channels=channels), StreamedImages)


@pytest.mark.parametrize("options", [AUGMENTED, {"channels": 1}, {"size": 12, "train_limit": 20, "validation": 5, "test": 0}])
def test_streamed_pictures_are_those_from_memory(folder: Path, limit: Any, options: dict[str, Any]) -> None:
    memory = build(folder, **options)
    limit(0)
    for workers in (0, 2):
        streamed = build(folder, workers, **options)
        for fact in ("splits", "spec", "checksum", "source", "facts", "batch_size", "steps_per_epoch"):
            assert getattr(streamed, fact) == getattr(memory, fact)
        assert torch.equal(streamed.example_inputs(3)[0], memory.example_inputs(3)[0])
        for step in (0, 1, 7, 2):
            assert_equal(streamed.train_batch(step), memory.train_batch(step))
        for split in memory.splits:
            for one, two in zip(streamed.evaluation_batches(split), memory.evaluation_batches(split), strict=True):
                assert_equal(one, two)


def test_splits_that_are_there_are_streamed_too(tmp_path: Path, limit: Any) -> None:
    folder = tmp_path / "pictures"
    for split, count in (("train", 8), ("val", 3), ("test", 2)):
        write_pictures(folder / split, count, ("cat", "dog"), seed=count)
    memory = build(folder)
    limit(0)
    streamed = build(folder)
    assert streamed.splits == memory.splits and streamed.checksum == memory.checksum
    for split in memory.splits:
        for one, two in zip(streamed.evaluation_batches(split), memory.evaluation_batches(split), strict=True):
            assert_equal(one, two)


def test_pictures_of_one_size_are_streamed_as_they_are(tmp_path: Path, limit: Any) -> None:
    from PIL import Image

    for name, colour in (("a", 10), ("b", 200)):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(8):
            Image.new("RGB", (9, 7), (colour, number, 40 * (number % 2))).save(tmp_path / "pictures" / name / f"{number}.png")
    memory = build(tmp_path / "pictures", size=None)
    limit(0)
    streamed = build(tmp_path / "pictures", size=None)
    assert streamed.spec == memory.spec == Images((3, 7, 9), 2)
    assert_equal(streamed.train_batch(1), memory.train_batch(1))
    Image.new("RGB", (9, 8)).save(tmp_path / "pictures" / "b" / "odd.png")
    with pytest.raises(UsageError, match=r"odd.png has 9x8 pixels .* set data.size=64"):
        build(tmp_path / "pictures", size=None)


@pytest.mark.parametrize("options", [AUGMENTED, {"mixup": 0.4}], ids=["augmented", "mixed"])
def test_processes_share_a_streamed_batch(folder: Path, limit: Any, options: dict[str, Any]) -> None:
    limit(0)
    whole, parts = (
        build(folder, **options, batch_size=8),
        [build(folder, rank=rank, world_size=2, **options, batch_size=8) for rank in (0, 1)],
    )
    for step in (0, 5):
        shares = [tensors(part.train_batch(step)) for part in parts]
        for value, *of_parts in zip(tensors(whole.train_batch(step)), *shares, strict=True):
            assert torch.equal(torch.cat(of_parts) if value.dim() else of_parts[0], value)
    assert sum(len(labels) for part in parts for _, labels in part.evaluation_batches("train")) == whole.splits["train"]


def test_a_damaged_picture_is_named_before_anything_is_trained(folder: Path, limit: Any) -> None:
    limit(0)
    (folder / "cat" / "03.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(UsageError, match=r"cat/03.jpg cannot be read as a picture") as caught:
        build(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"\xff\xd8\xff")], ids=["gone", "damaged"])
def test_a_picture_that_is_damaged_later_is_named(folder: Path, limit: Any, workers: int, spoil: Any) -> None:
    limit(0)
    batches = build(folder, workers)
    spoil(folder / "cat" / "03.jpg")
    with pytest.raises(UsageError, match=r"cat/03.jpg cannot be read as a picture") as caught:
        for split in batches.splits:
            list(batches.evaluation_batches(split))
    assert "\n" not in str(caught.value)


def test_the_first_pass_is_kept_until_a_file_changes(folder: Path, limit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(0)
    before = build(folder).checksum
    with monkeypatch.context() as patch:
        patch.setattr("idinit_suite.data.own.streamed_folder.decode_each", lambda *_: pytest.fail("read again"))
        assert build(folder).checksum == before
    shutil.copy(folder / "dog" / "00.png", folder / "cat" / "00.png")
    assert build(folder).checksum != before
