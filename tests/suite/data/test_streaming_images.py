from __future__ import annotations

import gc
import shutil
import subprocess
import sys
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest
import torch
from streamed_pictures import assert_equal, build, flat, write_imagenet

from idinit.errors import UsageError

EVERYTHING = {"randaugment": 9, "erasing": 0.5, "mixup": 0.8, "cutmix": 1.0}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_imagenet(tmp_path_factory.mktemp("data"))


def test_what_it_serves(root: Path) -> None:
    batches = build(root)
    assert batches.splits == {"train": 36, "validation": 6, "test": 9}
    assert batches.steps_per_epoch == 4 and batches.spec.num_classes == 3
    assert batches.source == "ImageNet (other data: 42 train, 9 test)"
    (images,), labels = batches.train_batch(0)
    assert images.shape == (8, 3, 16, 16) and images.dtype == torch.float32 and labels.shape == (8,)
    assert batches.example_inputs(3)[0].shape == (3, 3, 16, 16)
    seen = torch.cat([labels for _, labels in batches.evaluation_batches("test")])
    assert seen.tolist() == [0] * 3 + [1] * 3 + [2] * 3


@pytest.mark.parametrize("options", [{}, EVERYTHING], ids=["plain", "everything"])
def test_a_batch_is_the_same_for_any_number_of_workers_and_after_a_resume(root: Path, options: dict[str, Any]) -> None:
    reference = build(root, **options)
    steps = [reference.train_batch(step) for step in range(6)]  # into the second epoch
    for workers in (0, 2, 3):
        torch.manual_seed(5)
        before = torch.get_rng_state()
        batches = build(root, workers=workers, **options)
        for step in (3, 4, 5, 1):
            assert_equal(batches.train_batch(step), steps[step])
        assert torch.equal(torch.get_rng_state(), before)
        for one, two in zip(batches.evaluation_batches("validation"), reference.evaluation_batches("validation"), strict=True):
            assert_equal(one, two)
    assert not torch.equal(flat(build(root, seed=1, **options).train_batch(0))[0], flat(steps[0])[0])


@pytest.mark.parametrize("options", [{}, EVERYTHING], ids=["plain", "everything"])
def test_processes_share_a_batch(root: Path, options: dict[str, Any]) -> None:
    whole, parts = build(root, **options), [build(root, rank=rank, world_size=2, **options) for rank in range(2)]
    for step in (0, 5):
        shares = [flat(part.train_batch(step)) for part in parts]
        for value, *of_parts in zip(flat(whole.train_batch(step)), *shares, strict=True):
            assert torch.equal(torch.cat(of_parts) if value.dim() else of_parts[0], value)
    for split, count in whole.splits.items():
        assert sum(len(labels) for part in parts for _, labels in part.evaluation_batches(split)) == count


def test_workers_end_with_their_batches(root: Path) -> None:
    others = set(active_children())
    batches = build(root, workers=2)
    batches.train_batch(0)
    workers = set(active_children()) - others
    gc.disable()
    try:
        del batches
        assert len(workers) == 2 and [worker.exitcode for worker in workers] == [0, 0]
    finally:
        gc.enable()


def test_each_epoch_sees_every_picture_once_in_another_order_and_otherwise_cropped(root: Path) -> None:
    batches = build(root, batch_size=36)
    (first,), labels = batches.train_batch(0)
    (second,), _ = batches.train_batch(1)
    assert torch.bincount(labels).tolist() == [12, 12, 12]
    assert len({tuple(image.flatten().tolist()) for image in torch.cat([first, second])}) == 72


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_picture_is_named(root: Path, tmp_path: Path, workers: int) -> None:
    shutil.copytree(root / "imagenet", tmp_path / "imagenet")
    (tmp_path / "imagenet" / "train" / "cat" / "03.jpg").write_bytes(b"\xff\xd8\xff")
    batches, others = build(tmp_path, workers=workers, batch_size=36), set(active_children())
    with pytest.raises(UsageError, match=r"cat/03\.jpg ") as caught:
        batches.train_batch(0)
    assert "\n" not in str(caught.value)
    assert set(active_children()) <= others, "workers are left"


def test_the_checksum_knows_names_sizes_and_classes(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "imagenet", tmp_path / "imagenet")
    assert build(tmp_path).checksum == build(root).checksum
    (tmp_path / "imagenet" / "train" / "cat" / "00.png").rename(tmp_path / "imagenet" / "train" / "dog" / "zz.png")
    assert build(tmp_path).checksum != build(root).checksum


def test_pairs_need_an_even_share(root: Path) -> None:
    with pytest.raises(UsageError, match="9 pictures"):
        build(root, batch_size=9, mixup=0.2)


LEAVE = """
from pathlib import Path
from idinit_suite.data import DATASETS, DataContext
options = DATASETS.check("imagenet", {"size": 16, "batch_size": 8, "validation": 6})
batches = DATASETS["imagenet"].build(DataContext(Path("."), workers=2), **options)
batches.train_batch(0)
raise SystemExit(3)
"""


def test_a_process_that_ends_while_workers_read_says_nothing(root: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", LEAVE], cwd=root, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stderr) == (3, "")
