from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from own_sets import build, image_folder
from picture_folders import write_pictures

from idinit.errors import UsageError


def empty_class(folder: Path) -> None:
    (folder / "dog").mkdir()


def one_class(folder: Path) -> None:
    shutil.rmtree(folder / "emu")
    shutil.rmtree(folder / "cat")


def damaged(folder: Path) -> None:
    (folder / "cat" / "00.png").write_bytes(b"\x89PNG")


def unknown_class(folder: Path) -> None:
    (folder / "train").mkdir()
    for name in ("cat", "emu"):
        shutil.copytree(folder / name, folder / "train" / name)
    write_pictures(folder / "val", 2, ("dog",))


def no_training(folder: Path) -> None:
    write_pictures(folder / "val", 2)


def dangling(folder: Path) -> None:
    (folder / "cat" / "link.jpg").symlink_to(folder / "moved.jpg")


def two_validations(folder: Path) -> None:
    for split in ("train", "val", "validation"):
        write_pictures(folder / split, 2)


def unlabelled(folder: Path) -> None:
    (folder / "train").mkdir()
    (folder / "cat").rename(folder / "train" / "cat")
    (folder / "emu").rename(folder / "train" / "emu")
    (folder / "test").mkdir()
    (folder / "test" / "1.png").touch()


@pytest.mark.parametrize(
    ("spoil", "options", "problem"),
    [
        (lambda folder: shutil.rmtree(folder), {}, "there is no such folder"),
        (empty_class, {}, "dog holds no pictures"),
        (one_class, {}, "needs two classes"),
        (damaged, {}, "00.png cannot be read as a picture"),
        (unknown_class, {}, "the training split has no class 'dog'"),
        (no_training, {}, "no folder train"),
        (unlabelled, {}, "test has no folders of classes"),
        (dangling, {}, "link.jpg cannot be read as a picture"),
        (two_validations, {}, "val, validation"),
        (lambda folder: None, {"size": None}, "set data.size=64"),
        (lambda folder: None, {"validation": 20}, "leave nothing of the 20 training examples"),
        (lambda folder: None, {"batch_size": 200}, "data.batch_size=200 is more than"),
    ],
)
def test_a_bad_folder_gets_one_line(
    tmp_path: Path, spoil: Callable[[Path], None], options: dict[str, Any], problem: str
) -> None:
    folder = write_pictures(tmp_path / "pictures", 10, ("cat", "emu"))
    spoil(folder)
    with pytest.raises(UsageError) as caught:
        build("image_folder", tmp_path, **{"folder": str(folder), "size": 8, **options})
    assert problem in str(caught.value) and "\n" not in str(caught.value)


def test_hidden_files_and_other_files_are_passed_over(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", 10)
    (folder / ".ipynb_checkpoints").mkdir()
    for name in ("._00.jpg", ".DS_Store", "notes.txt"):
        (folder / "cat" / name).write_bytes(b"?")
    assert sum(build("image_folder", tmp_path, folder=str(folder), size=8).splits.values()) == 30


def test_the_cache_knows_the_options_and_the_folders(tmp_path: Path) -> None:
    options = image_folder(tmp_path)
    shapes = [build("image_folder", tmp_path, **{**options, **other}).spec for other in ({}, {"size": 12}, {"channels": 1}, {})]
    assert [spec.shape for spec in shapes] == [(3, 8, 8), (3, 12, 12), (1, 8, 8), (3, 8, 8)]  # type: ignore[union-attr]
    before = build("image_folder", tmp_path, **options).checksum
    folder = Path(options["folder"])
    (folder / "cat" / "00.png").rename(folder / "dog" / "zz.png")  # the same file in another class
    assert build("image_folder", tmp_path, **options).checksum != before
