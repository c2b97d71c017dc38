from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from picture_folders import COLOURS, write_pictures
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from idinit.errors import UsageError
from idinit_suite.data import DATASETS, DataContext, Mixed
from idinit_suite.data.images.mixing import Mixing, _box
from idinit_suite.data.images.streaming import StreamedImages
from idinit_suite.data.images.worker_transforms import Evaluation, Training
from idinit_suite.seeds import generator

EVERYTHING = {"randaugment": 9, "erasing": 0.5, "mixup": 0.8, "cutmix": 1.0}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_pictures(root / "imagenet" / "train", 14)
    write_pictures(root / "imagenet" / "val", 3, seed=1)
    return root


def build(root: Path, seed: int = 0, rank: int = 0, world_size: int = 1, workers: int = 0, **options: Any) -> StreamedImages:
    context = DataContext(root, seed, rank=rank, world_size=world_size, workers=workers)
    small = {"size": 16, "batch_size": 8, "validation": 6}
    built = DATASETS["imagenet"].build(context, **DATASETS.check("imagenet", {**small, **options}))
    assert isinstance(built, StreamedImages)
    return built


def flat(batch: Any) -> list[Tensor]:
    (images,), labels = batch
    return [images, *(labels if isinstance(labels, Mixed) else [labels])]


def assert_equal(one: Any, two: Any) -> None:
    assert all(torch.equal(a, b) for a, b in zip(flat(one), flat(two), strict=True))


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


def test_each_epoch_sees_every_picture_once_in_another_order_and_otherwise_cropped(root: Path) -> None:
    batches = build(root, batch_size=36)
    (first,), labels = batches.train_batch(0)
    (second,), _ = batches.train_batch(1)
    assert torch.bincount(labels).tolist() == [12, 12, 12]
    assert len({tuple(image.flatten().tolist()) for image in torch.cat([first, second])}) == 72


def jpeg(height: int, width: int) -> io.BytesIO:
    smooth = torch.nn.functional.interpolate(torch.rand(1, 3, height // 16, width // 16) * 255, (height, width), mode="bicubic")
    file = io.BytesIO()
    Image.fromarray(smooth[0].clamp(0, 255).byte().permute(1, 2, 0).numpy()).save(file, "JPEG", quality=95)
    file.seek(0)
    return file


def pixels_of(file: io.BytesIO) -> Tensor:
    return v2.functional.pil_to_tensor(Image.open(file))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("seed", range(4))
def test_training_pictures_are_those_of_torchvision(seed: int, interpolation: str) -> None:
    file = jpeg(80, 96)
    mode = v2.InterpolationMode(interpolation)
    torch.manual_seed(seed)
    expected = v2.Compose([v2.RandomResizedCrop(48, interpolation=mode), v2.RandomHorizontalFlip()])(pixels_of(file))
    assert torch.equal(Training(48, interpolation=interpolation)(file, seed), expected)


@pytest.mark.parametrize("shape", [(80, 96), (96, 80), (48, 48)])
def test_evaluation_pictures_are_those_of_torchvision(shape: tuple[int, int]) -> None:
    file = jpeg(*shape)
    expected = v2.Compose([v2.Resize(64), v2.CenterCrop(56)])(pixels_of(file))
    assert torch.equal(Evaluation(56, 0.875)(file), expected)


def saved(mode: str, kind: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.open(jpeg(80, 96)).convert(mode).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {}),
        ("RGB", {"quality": 30, "progressive": True}),
        ("RGB", {"subsampling": 0, "keep_rgb": True}),
        ("L", {}),
        ("CMYK", {}),
        ("RGB", {"kind": "MPO", "save_all": True, "append_images": [Image.new("RGB", (96, 80))]}),
        ("RGB", {"kind": "PNG"}),
    ],
    ids=["plain", "progressive", "RGB", "grey", "CMYK", "MPO", "PNG"],
)
def test_pictures_have_the_values_that_pillow_decodes(mode: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    content = saved(mode, **options)
    decoded = io.BytesIO()
    Image.open(io.BytesIO(content)).convert("RGB").save(decoded, "PNG")
    for transform in (Training(48), Evaluation(56, 0.875)):
        assert torch.equal(transform(io.BytesIO(content), 3), transform(decoded, 3))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_ends_early_is_refused(share: float, progressive: bool) -> None:
    torch.manual_seed(0)
    content = saved("RGB", quality=95, progressive=progressive)
    with pytest.raises(OSError, match="truncated"):
        Training(48)(io.BytesIO(content[: int(share * len(content))]), 3)


@pytest.mark.parametrize("transform", [Training(28, min_scale=0.9, flip=False), Evaluation(28, 0.875)], ids=["train", "test"])
def test_decoding_at_a_fraction_changes_little(transform: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    file = jpeg(256, 320)
    scaled = transform(file, 3).float()
    monkeypatch.setattr(Image.Image, "draft", lambda *_: None)
    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.draft", lambda *_: None)
    whole = transform(file, 3).float()
    assert not torch.equal(scaled, whole)
    assert (scaled - whole).abs().mean() < 4  # of 255 levels, on a picture of noise


def test_pictures_stand_upright() -> None:
    image = Image.fromarray((np.arange(32 * 64 * 3) % 251).astype(np.uint8).reshape(32, 64, 3))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned, upright = io.BytesIO(), io.BytesIO()
    image.save(turned, "PNG", exif=exif)
    image.transpose(Image.Transpose.ROTATE_270).save(upright, "PNG")
    assert torch.equal(Evaluation(16)(turned), Evaluation(16)(upright))


def test_what_mixup_and_cutmix_make() -> None:
    images, labels = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 3])
    for number in range(20):
        (mixed,), target = Mixing(mixup=1.0)(images.clone(), labels, torch.Generator().manual_seed(number))
        assert isinstance(target, Mixed) and target.labels_b.tolist() == [1, 0, 3, 2]
        assert torch.allclose(mixed, target.lam * images + (1 - target.lam) * images[[1, 0, 3, 2]], atol=1e-6)
        (cut,), target = Mixing(cutmix=1.0)(images.clone(), labels, torch.Generator().manual_seed(number))
        from_partner = (cut == images[[1, 0, 3, 2]]).all(1)
        assert torch.equal(from_partner | (cut == images).all(1), torch.ones(4, 8, 8, dtype=torch.bool))
        assert from_partner.float().mean() == pytest.approx(1 - float(target.lam))
    weights = [float(Mixing(mixup=0.2)(images.clone(), labels, generator(0, "mix", n))[1].lam) for n in range(1000)]
    assert np.mean(weights) == pytest.approx(0.5, abs=0.05)
    assert np.var(weights) == pytest.approx(1 / (4 * (2 * 0.2 + 1)), abs=0.02)  # of Beta(a, a)


def test_a_box_has_its_share_of_the_area() -> None:
    shares = []
    for number in range(200):
        rows, columns, left = _box(64, 64, 0.75, torch.Generator().manual_seed(number))
        assert left == 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / 64**2
        shares.append(left)
    assert min(shares) == pytest.approx(0.75) and max(shares) < 0.95


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_picture_is_named(root: Path, tmp_path: Path, workers: int) -> None:
    shutil.copytree(root / "imagenet", tmp_path / "imagenet")
    (tmp_path / "imagenet" / "train" / "cat" / "03.jpg").write_bytes(b"\xff\xd8\xff")
    batches = build(tmp_path, workers=workers, batch_size=36)
    with pytest.raises(UsageError, match=r"cat/03\.jpg ") as caught:
        batches.train_batch(0)
    assert "\n" not in str(caught.value)


def test_the_checksum_knows_names_sizes_and_classes(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "imagenet", tmp_path / "imagenet")
    assert build(tmp_path).checksum == build(root).checksum
    (tmp_path / "imagenet" / "train" / "cat" / "00.png").rename(tmp_path / "imagenet" / "train" / "dog" / "zz.png")
    assert build(tmp_path).checksum != build(root).checksum


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


def test_pairs_need_an_even_share(root: Path) -> None:
    with pytest.raises(UsageError, match="9 pictures"):
        build(root, batch_size=9, mixup=0.2)


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
