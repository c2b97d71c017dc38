from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from image_layouts import tiny, write_idx, write_parquet

from idinit.errors import UsageError
from idinit_suite.data import load_images
from idinit_suite.data.images.datasets import IMAGE_SETS
from idinit_suite.data.images.load import channel_statistics
from idinit_suite.data.readers import Decoded


def cifar10(root: Path, content: Decoded | None = None, kind: str = "PNG") -> Path:
    write_parquet(root / "cifar10" / "plain_text", content or tiny(), kind=kind)
    return root


def test_images_are_loaded_as_they_were_written(tmp_path) -> None:
    written = tiny()
    data = load_images("cifar10", cifar10(tmp_path, written))
    for split in ("train", "test"):
        images, labels = getattr(data, f"{split}_images"), getattr(data, f"{split}_labels")
        assert images.dtype == torch.uint8 and labels.dtype == torch.int64
        assert torch.equal(images, written.images[split])
        assert torch.equal(labels, written.labels[split])
    assert data.classes == written.classes
    assert data.source == "CIFAR-10 (other data: 40 train, 20 test)"


def test_the_second_time_nothing_is_decoded(tmp_path, monkeypatch) -> None:
    first = load_images("cifar10", cifar10(tmp_path))
    monkeypatch.setattr("idinit_suite.data.locate.read_parquet", None)
    second = load_images("cifar10", tmp_path)
    assert torch.equal(first.train_images, second.train_images)
    facts = ("classes", "mean", "std", "checksum", "source")
    assert [getattr(first, fact) for fact in facts] == [getattr(second, fact) for fact in facts]


def test_a_damaged_cache_is_decoded_again(tmp_path, caplog) -> None:
    first = load_images("cifar10", cifar10(tmp_path))
    (path,) = (tmp_path / ".cache").glob("cifar10-*.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    with caplog.at_level(logging.WARNING):
        second = load_images("cifar10", tmp_path)
    assert "is damaged" in caplog.text
    assert second.checksum == first.checksum
    assert torch.equal(first.train_images, second.train_images)


def test_a_changed_source_is_decoded_again(tmp_path) -> None:
    first = load_images("cifar10", cifar10(tmp_path))
    for path in (tmp_path / "cifar10" / "plain_text").iterdir():
        path.unlink()
    (tmp_path / "cifar10" / "plain_text").rmdir()
    cifar10(tmp_path, tiny(train=30))
    second = load_images("cifar10", tmp_path)
    assert len(first.train_labels) == 40 and len(second.train_labels) == 30
    assert first.checksum != second.checksum


def test_the_checksum_is_of_the_images_and_not_of_their_storage(tmp_path, write_cifar10) -> None:
    write_cifar10(tmp_path / "torchvision", tiny())
    one = load_images("cifar10", tmp_path / "torchvision")
    two = load_images("cifar10", cifar10(tmp_path / "hub"))
    assert one.checksum == two.checksum
    changed = tiny()
    changed.images["test"][3, 0, 5, 5] ^= 1
    assert load_images("cifar10", cifar10(tmp_path / "changed", changed)).checksum != one.checksum


def test_files_of_the_size_of_the_set_have_its_title(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(IMAGE_SETS, "cifar10", dataclasses.replace(IMAGE_SETS["cifar10"], sizes=(40, 20)))
    assert load_images("cifar10", cifar10(tmp_path)).source == "CIFAR-10"


def test_images_decoded_to_another_size_are_not_taken_from_the_cache(tmp_path, monkeypatch) -> None:
    before = load_images("cifar10", cifar10(tmp_path, tiny(side=28)))
    monkeypatch.setitem(IMAGE_SETS, "cifar10", dataclasses.replace(IMAGE_SETS["cifar10"], side=36))
    after = load_images("cifar10", tmp_path)
    assert before.train_images.shape[-1] == 32 and after.train_images.shape[-1] == 36


def test_a_jpeg_copy_is_called_one(tmp_path) -> None:
    assert (
        load_images("cifar10", cifar10(tmp_path, kind="JPEG")).source == "CIFAR-10 (other data: 40 train, 20 test) (JPEG copy)"
    )
    assert load_images("cifar10", tmp_path).source == "CIFAR-10 (other data: 40 train, 20 test) (JPEG copy)"  # from the cache


def test_statistics_are_those_of_the_training_images(tmp_path) -> None:
    written = tiny()
    data = load_images("cifar10", cifar10(tmp_path, written))
    pixels = written.images["train"].numpy().astype(np.float64) / 255
    np.testing.assert_allclose(data.mean, pixels.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(data.std, pixels.std((0, 2, 3)), rtol=1e-12)


def test_statistics_of_known_pixels() -> None:
    images = torch.tensor([0, 255, 51, 51], dtype=torch.uint8).reshape(2, 2, 1, 1)
    mean, std = channel_statistics(images)  # channels: (0, 51) and (255, 51)
    assert mean == pytest.approx([0.1, 0.6], rel=1e-12)
    assert std == pytest.approx([0.1, 0.4], rel=1e-12)


@pytest.mark.parametrize("side", [28, 32])
def test_small_images_get_a_black_border(tmp_path, side) -> None:
    written = tiny(channels=1, side=side)
    write_idx(tmp_path / "FashionMNIST" / "raw", written, compress=True)
    data = load_images("fashion_mnist", tmp_path)
    assert data.train_images.shape == (40, 1, 32, 32)
    border = (32 - side) // 2
    assert torch.equal(data.train_images[..., border : 32 - border, border : 32 - border], written.images["train"])
    assert data.train_images.sum() == written.images["train"].sum()
    assert data.classes[0] == "T-shirt/top"


def test_digits_need_no_files(tmp_path) -> None:
    data = load_images("digits", tmp_path / "nowhere")
    assert data.train_images.shape == (1437, 1, 32, 32)
    assert data.test_images.shape == (360, 1, 32, 32)
    assert data.classes == tuple("0123456789")
    assert data.checksum == "efc932ed255cb81def1575f39219ea2f14dbcb3fc5bdda9f8b20254a81391dbc"


def test_a_read_only_root_is_left_alone(tmp_path) -> None:
    root = cifar10(tmp_path / "root")
    root.chmod(0o555)
    load_images("cifar10", root)
    assert not (root / ".cache").exists()
    (kept,) = (Path(os.environ["XDG_CACHE_HOME"]) / "idinit").glob("*.safetensors")
    assert kept.name.startswith("cifar10-")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (tiny(num_classes=11), "0 to 10 for 10 "),
        (tiny(side=24), r".*\(3, 24, 24\)"),
    ],
    ids=["labels", "size"],
)
def test_what_is_not_the_data_set_is_refused(tmp_path, content, problem) -> None:
    with pytest.raises(UsageError, match=f"'cifar10', train: .*{problem}"):
        load_images("cifar10", cifar10(tmp_path, content))
    assert not list((tmp_path / ".cache").glob("*.safetensors"))


def test_a_source_cut_short_is_named_and_nothing_is_kept(tmp_path) -> None:
    cifar10(tmp_path)
    path = tmp_path / "cifar10" / "plain_text" / "train-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UsageError, match=f"{path} .*download it again"):
        load_images("cifar10", tmp_path)
    assert not list((tmp_path / ".cache").glob("*.safetensors"))


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path) -> None:
    with pytest.raises(UsageError, match="'cifar'.*'cifar10'"):
        load_images("cifar", tmp_path)


@pytest.mark.skipif("IDINIT_DATA" not in os.environ, reason="IDINIT_DATA names no data root with the real CIFAR-10")
def test_the_real_cifar10(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("idinit_suite.data.cache.folder", lambda root: tmp_path)
    data = load_images("cifar10", Path(os.environ["IDINIT_DATA"]))
    assert data.train_images.shape == (50_000, 3, 32, 32)
    assert torch.bincount(data.train_labels).tolist() == [5000] * 10
    assert torch.bincount(data.test_labels).tolist() == [1000] * 10
    # As published for the original pixels, which a JPEG copy alters slightly.
    assert data.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=1e-3)
    assert data.std == pytest.approx((0.2470, 0.2435, 0.2616), abs=3e-3)
    assert data.classes[0] == "airplane"
