"""ImageNet in every layout in which it is read: folders, tar files, shards, tables."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
from picture_folders import COLOURS
from streamed_pictures import assert_equal, build, flat, write_imagenet

from idinit.errors import UsageError


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_imagenet(tmp_path_factory.mktemp("data"))


def pack(folder: Path, tar: Path) -> None:
    """Packs what is in a folder, and deletes it."""
    with tarfile.open(tar, "w") as packed:
        for path in sorted(folder.rglob("*.*")):
            packed.add(path, path.relative_to(folder))
    shutil.rmtree(folder)


def pack_classes(folder: Path) -> None:
    """A tar file for each class."""
    for of_class in sorted(path for path in folder.iterdir() if path.is_dir()):
        pack(of_class, folder / f"{of_class.name}.tar")


def as_one(folder: Path) -> None:
    pack(folder, folder.with_suffix(".tar"))


def as_one_of_classes(folder: Path) -> None:
    pack_classes(folder)
    as_one(folder)


def test_a_tar_file_is_read_as_its_folder(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "imagenet", tmp_path / "imagenet")
    as_one(tmp_path / "imagenet" / "train")
    from_tar = build(tmp_path, workers=2)
    assert from_tar.splits == build(root).splits
    assert torch.equal(from_tar.example_inputs(3)[0], build(root).example_inputs(3)[0])
    for step in range(3):
        assert_equal(from_tar.train_batch(step), build(root).train_batch(step))


@pytest.mark.parametrize("pack_train", [lambda _: None, as_one], ids=["folder", "tar"])
def test_hidden_files_are_no_pictures(root: Path, tmp_path: Path, pack_train: Any) -> None:
    train = tmp_path / "imagenet" / "train"
    shutil.copytree(root / "imagenet", tmp_path / "imagenet")
    (train / ".ipynb_checkpoints").mkdir()
    for name in ("cat/._01.jpg", "cat/.DS_Store", ".ipynb_checkpoints/01-checkpoint.jpg"):
        shutil.copy(train / "cat" / "01.jpg", train / name)
    pack_train(train)
    batches = build(tmp_path, workers=2)
    assert batches.splits == build(root).splits and batches.spec == build(root).spec
    for step in range(3):
        assert_equal(batches.train_batch(step), build(root).train_batch(step))


def write_shards(folder: Path, split: str, shards: Path, name: str) -> None:
    """Packs a split into two shards of the webdataset format, each with every second picture."""
    shards.mkdir(exist_ok=True)
    pictures = sorted((folder / split).rglob("*.*"))
    for number in range(2):
        with tarfile.open(shards / f"{name}-{number:04}.tar", "w") as tar:
            for index, path in enumerate(pictures[number::2]):
                label = tarfile.TarInfo(f"{index:06}.cls")
                text = str(sorted(COLOURS).index(path.parent.name)).encode()
                label.size = len(text)
                tar.addfile(label, io.BytesIO(text))
                tar.add(path, f"{index:06}{path.suffix}")
                for hidden in (f"._{index:06}", f".ipynb_checkpoints/{index:06}"):
                    tar.add(path, f"{hidden}{path.suffix}")
        shutil.copy(shards / f"{name}-{number:04}.tar", shards / f"._{name}-{number:04}.tar")


def test_shards_are_read_as_their_folder(root: Path, tmp_path: Path) -> None:
    write_shards(root / "imagenet", "train", tmp_path / "shards", "imagenet-train")
    write_shards(root / "imagenet", "val", tmp_path / "shards", "imagenet-validation")
    batches, again = (build(tmp_path, folder="wds/shards", workers=workers, validation=0) for workers in (2, 0))
    assert batches.splits == {"train": 42, "test": 9} and batches.checksum == again.checksum
    assert_equal(batches.train_batch(3), again.train_batch(3))
    seen = [
        {(label, *mean) for images, labels in map(flat, one.evaluation_batches("test"))
         for label, mean in zip(labels.tolist(), images.mean((2, 3)).tolist(), strict=True)}
        for one in (batches, build(root, validation=0))
    ]  # fmt: skip
    assert len(seen[0]) == 9 and seen[0] == seen[1]


def test_a_shard_without_a_class_is_told(root: Path, tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    with tarfile.open(tmp_path / "shards" / "train-0000.tar", "w") as tar:
        tar.add(root / "imagenet" / "train" / "cat" / "01.jpg", "000007.jpg")
    with pytest.raises(UsageError, match=r"train-0000.tar: '000007.jpg' needs a 000007.cls"):
        build(tmp_path, folder="wds/shards")


def test_a_tar_file_of_tar_files_is_closed_before_workers_begin(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "imagenet", tmp_path / "imagenet")
    pack_classes(tmp_path / "imagenet" / "train")
    as_one(tmp_path / "imagenet" / "train")
    batches = build(tmp_path, workers=2)
    batches.example_inputs(batches.splits["train"])
    outer = batches._sets["train"].reader.tar_state  # type: ignore[attr-defined]
    assert len(outer.children) == 3 and [state.tf for state in (outer, *outer.children.values())] == [None] * 4
    seen = torch.cat([batches.train_batch(step)[1] for step in range(batches.steps_per_epoch)])  # type: ignore[misc]
    assert set(seen.tolist()) == {0, 1, 2}


def test_classes_of_tar_files_are_compared(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "imagenet", tmp_path / "imagenet")
    shutil.rmtree(tmp_path / "imagenet" / "val" / "dog")
    for split in ("train", "val"):
        as_one(tmp_path / "imagenet" / split)
    with pytest.raises(UsageError, match="the classes of train and test are not the same"):
        build(tmp_path)


def test_an_index_of_tar_files_that_were_there_before_is_refused(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "imagenet", tmp_path / "imagenet")
    as_one(tmp_path / "imagenet" / "train")
    index = tmp_path / "imagenet" / "_train_tarinfos.pickle"
    index.touch()
    os.utime(index, (0, 0))
    with pytest.raises(UsageError, match="_train_tarinfos.pickle is older than its tar files: delete it"):
        build(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda folder: shutil.rmtree(folder / "train"), "/train"),
        (lambda folder: shutil.rmtree(folder / "val" / "cat"), "classes of train and test"),
        (
            lambda folder: [shutil.rmtree(folder / s / c) for s in ("train", "val") for c in ("cat", "dog")],
            "one class",
        ),
    ],
)
def test_a_bad_folder_is_told(root: Path, tmp_path: Path, spoil: Any, problem: str) -> None:
    shutil.copytree(root / "imagenet", tmp_path / "imagenet")
    spoil(tmp_path / "imagenet")
    with pytest.raises(UsageError, match=problem):
        build(tmp_path)


def write_tables(root: Path, folder: Path, **spoilt: Any) -> None:
    """The pictures as parquet files of the hub, in the order of their folders."""
    import datasets

    features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=["cat", "dog", "emu"]))
    folder.mkdir(parents=True)
    for split, name in (("train", "train"), ("val", "validation")):
        rows = [
            {"image": {"bytes": path.read_bytes(), "path": path.name}, "label": path.parent.name}
            for path in sorted((root / "imagenet" / split).rglob("*.*"))
        ]
        rows[5] |= spoilt
        datasets.Dataset.from_list(rows, features=features).to_parquet(folder / f"{name}-00000-of-00001.parquet")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)


@pytest.mark.usefixtures("offline")
def test_tables_are_read_as_their_folder(root: Path, tmp_path: Path) -> None:
    write_tables(root, tmp_path / "mine")
    tables, folders = build(tmp_path, folder="hfds/mine", workers=2), build(root)
    assert tables.splits == folders.splits and tables.source == folders.source
    for step in range(5):
        assert_equal(tables.train_batch(step), folders.train_batch(step))
    for one, two in zip(tables.evaluation_batches("test"), folders.evaluation_batches("test"), strict=True):
        assert_equal(one, two)
    shutil.copytree(tmp_path / "mine", tmp_path / "elsewhere" / "mine")
    assert build(tmp_path / "elsewhere", folder="hfds/mine").checksum == tables.checksum
    (tmp_path / "mine" / "validation-00000-of-00001.parquet").unlink()
    assert build(tmp_path, folder="hfds/mine", test=5).splits == {"train": 31, "validation": 6, "test": 5}


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("spoilt", "problem"),
    [
        ({"image": None}, "train, row 6: the picture is missing"),
        ({"label": None}, "train: column 'label' must number the classes"),
        ({"image": {"bytes": b"?", "path": None}}, "picture 5 cannot be read as a picture"),
        ({"image": {"bytes": b"?", "path": "odd.png"}}, "odd.png cannot be read as a picture"),
    ],
)
def test_a_bad_row_of_a_table_is_told(root: Path, tmp_path: Path, spoilt: dict[str, Any], problem: str) -> None:
    write_tables(root, tmp_path / "mine", **spoilt)
    with pytest.raises(UsageError) as caught:
        batches = build(tmp_path, folder="hfds/mine")
        for split in batches.splits:
            list(batches.evaluation_batches(split))
    assert problem in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.usefixtures("offline")
def test_a_data_set_that_the_hub_does_not_have_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="data.folder=hfds/nobody/nothing cannot be read") as caught:
        build(tmp_path, folder="hfds/nobody/nothing")
    assert "\n" not in str(caught.value)
