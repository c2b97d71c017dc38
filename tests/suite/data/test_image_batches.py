from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from image_layouts import tiny, write_idx, write_parquet
from torch import Tensor

from idinit.errors import UsageError
from idinit_suite.data import DATASETS, DataContext, Images, Mixed, load_images, split
from idinit_suite.data.images.augment import Augmentation, normalize, pad
from idinit_suite.data.images.datasets import IMAGE_SETS
from idinit_suite.seeds import generator

CONFIGS = Path(__file__).parents[3] / "configs" / "data"
PLAIN = {"crop": 0, "flip": False}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a tiny copy of every set."""
    root = tmp_path_factory.mktemp("data")
    write_parquet(root / "cifar10" / "plain_text", tiny())
    hundred = tiny(train=200, test=100, num_classes=100)
    write_parquet(root / "cifar100" / "cifar100", hundred, label="fine_label")
    write_idx(root / "FashionMNIST" / "raw", tiny(channels=1, side=28), compress=True)
    return root


def build(root: Path, name: str = "cifar10", seed: int = 0, rank: int = 0, world_size: int = 1, **options: Any) -> Any:
    options = {"batch_size": 8, "validation": 10} | options
    return DATASETS[name].build(DataContext(root, seed, rank=rank, world_size=world_size), **DATASETS.check(name, options))


def same(one: tuple, two: tuple) -> bool:
    flat = [[x for part in pair for x in (part if isinstance(part, tuple) else (part,))] for pair in (one, two)]
    return len(flat[0]) == len(flat[1]) and all(torch.equal(a, b) for a, b in zip(*flat, strict=True))


@pytest.mark.parametrize("name", IMAGE_SETS)
def test_every_set_serves_what_it_says(root, name) -> None:
    batches, data = build(root, name), load_images(name, root)
    image_set = IMAGE_SETS[name]
    shape = (image_set.channels, image_set.side, image_set.side)
    assert batches.spec == Images(shape, image_set.num_classes)
    assert batches.tokens_per_step is None and batches.state_dict() == {}
    train = len(data.train_labels) - 10
    assert batches.splits == {"train": train, "validation": 10, "test": len(data.test_labels)}
    assert batches.steps_per_epoch == train // 8
    assert (batches.checksum, batches.source) == (data.checksum, data.source)
    (images,), labels = batches.train_batch(0)
    assert images.shape == (8, *shape) and images.dtype == torch.float32
    assert labels.shape == (8,) and labels.dtype == torch.int64
    assert [x.shape for x in batches.example_inputs(3)] == [(3, *shape)]


@pytest.mark.parametrize("preset", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_preset_holds_every_option_at_its_default(preset: Path) -> None:
    options = yaml.safe_load(preset.read_text())
    assert options.pop("name") == preset.stem
    assert options == DATASETS.check(preset.stem, {})


@pytest.mark.parametrize("options", [{}, {"mixup": 0.5, "cutout": 8}], ids=["plain", "mixup"])
def test_a_batch_depends_on_seed_and_step_alone(root, options) -> None:
    batches = build(root, **options)
    first = [batches.train_batch(step) for step in range(8)]
    torch.manual_seed(5)
    before = torch.get_rng_state()
    again = build(root, **options)
    for step in (7, 2, 5, 0):  # as after a resume, in another process
        assert same(again.train_batch(step), first[step])
    assert torch.equal(torch.get_rng_state(), before)
    assert not same(build(root, seed=1, **options).train_batch(0), first[0])
    assert not any(same(first[0], other) for other in first[1:])


def test_an_epoch_goes_once_through_the_training_images_in_a_new_order(root) -> None:
    batches = build(root, validation=0, **PLAIN)  # 40 images, 5 steps
    whole = {image.numpy().tobytes() for image in batches.example_inputs(40)[0]}
    assert len(whole) == 40
    epochs = [[image for step in range(e * 5, e * 5 + 5) for image in batches.train_batch(step)[0][0]] for e in range(2)]
    assert [{image.numpy().tobytes() for image in epoch} for epoch in epochs] == [whole, whole]
    assert not torch.equal(torch.stack(epochs[0]), torch.stack(epochs[1]))


def test_the_order_is_the_documented_permutation(root) -> None:
    batches = build(root, **PLAIN)  # 30 images, 3 steps, 6 images left out
    images, labels = batches.example_inputs(30)[0], torch.cat([y for _, y in batches.evaluation_batches("train")])
    order = torch.randperm(30, generator=generator(0, "order", 1))[8:16]
    assert same(batches.train_batch(3 + 1), ((images[order],), labels[order]))


@pytest.mark.parametrize("step", [0, 4])
def test_a_batch_is_the_documented_draw_of_its_step(root, step) -> None:
    data, augmentation = load_images("cifar10", root), Augmentation(padding=4, flip=True, cutout=8)
    rows = torch.randperm(30, generator=generator(0, "order", step // 3))[step % 3 * 8 :][:8]
    index = split(data.train_labels, 10, seed=0)[0][rows]
    draws = augmentation.draw(8, (32, 32), generator(0, "augment", step))
    pixels = augmentation.pixels(pad(data.train_images, 4), index, draws)
    images = augmentation.cut(normalize(pixels, torch.tensor(data.mean), torch.tensor(data.std)), draws)
    assert same(build(root, cutout=8).train_batch(step), ((images,), data.train_labels[index]))


def test_augmentation_changes_images_but_neither_order_nor_labels(root) -> None:
    plain, augmented = build(root, **PLAIN), build(root, crop=4, flip=True, cutout=8)
    for step in range(3):
        ((one,), labels), ((two,), same_labels) = plain.train_batch(step), augmented.train_batch(step)
        assert torch.equal(labels, same_labels)
        assert not torch.equal(one, two)


def test_a_black_border_is_black_and_not_the_mean(root) -> None:
    batches, data = build(root, crop=16, flip=False), load_images("cifar10", root)
    black = -torch.tensor(data.mean) / torch.tensor(data.std)
    corners = torch.cat([batches.train_batch(step)[0][0] for step in range(3)])[:, :, [0, 0, 31, 31], [0, 31, 0, 31]]
    is_black = ((corners - black[:, None]).abs() < 1e-6).all(1)
    assert is_black.any(1).float().mean() > 0.9


def test_mixup_mixes_images_as_it_says(root) -> None:
    plain, mixed = build(root, crop=4), build(root, crop=4, mixup=0.4)
    weights = []
    for step in range(6):
        (images,), labels = plain.train_batch(step)
        (result,), targets = mixed.train_batch(step)
        assert isinstance(targets, Mixed)
        assert torch.equal(targets.labels_a, labels)
        assert sorted(targets.labels_b.tolist()) == sorted(labels.tolist())
        weights.append(targets.lam.item())
        for a, mixture, label_b in zip(images, result, targets.labels_b, strict=True):
            partners = [b for b, label in zip(images, labels, strict=True) if label == label_b]
            errors = [(weights[-1] * a + (1 - weights[-1]) * b - mixture).abs().max() for b in partners]
            assert min(errors) < 1e-5
    assert len(set(weights)) == 6 and all(0 <= weight <= 1 for weight in weights)


@pytest.mark.parametrize("mixup", [1.0, 0.1])
def test_mixing_weights_follow_the_beta_distribution(root, mixup) -> None:
    batches = build(root, mixup=mixup, **PLAIN)
    weights = torch.stack([batches.train_batch(step)[1].lam for step in range(400)])
    assert weights.mean().item() == pytest.approx(0.5, abs=0.1)
    assert weights.var().item() == pytest.approx(1 / (4 * (2 * mixup + 1)), rel=0.2)


@pytest.mark.parametrize("options", [{}, {"mixup": 0.5, "cutout": 8}], ids=["plain", "mixup"])
@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_share_the_batch_that_one_would_see(root, world_size, options) -> None:
    whole = build(root, **options)
    shares = [build(root, rank=rank, world_size=world_size, **options) for rank in range(world_size)]
    for step in (0, 4):
        (images,), targets = whole.train_batch(step)
        parts = [share.train_batch(step) for share in shares]
        assert torch.equal(torch.cat([part[0][0] for part in parts]), images)
        if not options:
            assert torch.equal(torch.cat([part[1] for part in parts]), targets)
            continue
        assert torch.equal(torch.cat([part[1].labels_a for part in parts]), targets.labels_a)
        assert torch.equal(torch.cat([part[1].labels_b for part in parts]), targets.labels_b)
        assert all(part[1].lam == targets.lam for part in parts)


def evaluated(batches: Any, name: str) -> tuple[Tensor, Tensor]:
    pairs = list(batches.evaluation_batches(name))
    assert all(len(images) <= batches.batch_size for (images,), _ in pairs)
    return torch.cat([images for (images,), _ in pairs]), torch.cat([labels for _, labels in pairs])


def test_evaluation_sees_every_image_once_unaugmented_and_in_order(root) -> None:
    data = load_images("cifar10", root)
    images, labels = evaluated(build(root, cutout=8, mixup=1.0), "test")
    expected = (data.test_images / 255 - torch.tensor(data.mean)[:, None, None]) / torch.tensor(data.std)[:, None, None]
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-5)
    assert torch.equal(labels, data.test_labels)


@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_processes_share_an_evaluation(root, name) -> None:
    images, labels = evaluated(build(root, batch_size=9), name)
    for rank in range(3):
        share = evaluated(build(root, batch_size=9, rank=rank, world_size=3), name)
        assert same(share, (images[rank::3], labels[rank::3]))


def test_validation_is_held_out_and_the_same_for_every_run(root) -> None:
    first, other = build(root, seed=0), build(root, seed=1)
    assert same(evaluated(first, "validation"), evaluated(other, "validation"))
    assert not same(evaluated(first, "validation"), evaluated(build(root, split_seed=1), "validation"))
    held_out = {image.numpy().tobytes() for image in evaluated(first, "validation")[0]}
    trained = {image.numpy().tobytes() for image in evaluated(first, "train")[0]}
    assert (len(held_out), len(trained), len(held_out & trained)) == (10, 30, 0)


def test_without_validation_there_is_no_such_split(root) -> None:
    assert build(root, validation=0).splits == {"train": 40, "test": 20}


def test_a_limit_shortens_training_and_nothing_else(root) -> None:
    limited, whole = build(root, train_limit=20), build(root)
    assert limited.splits == {"train": 20, "validation": 10, "test": 20}
    assert limited.steps_per_epoch == 2
    assert same(evaluated(limited, "validation"), evaluated(whole, "validation"))
    assert torch.bincount(evaluated(limited, "train")[1], minlength=10).tolist() == [2] * 10
    assert build(root, train_limit=1000).splits == whole.splits


def test_channels_last_changes_the_memory_format_only(root) -> None:
    options = DATASETS.check("cifar10", {"batch_size": 8, "validation": 10, "cutout": 8})
    one, two = (DATASETS["cifar10"].build(DataContext(root, channels_last=flag), **options) for flag in (False, True))
    for ((a,), _), ((b,), _) in [
        (one.train_batch(1), two.train_batch(1)),
        *zip(one.evaluation_batches("train"), two.evaluation_batches("train"), strict=True),
        *zip(one.evaluation_batches("test"), two.evaluation_batches("test"), strict=True),
    ]:
        assert torch.equal(a, b)
        assert a.is_contiguous() and b.is_contiguous(memory_format=torch.channels_last)


def test_a_batch_larger_than_the_training_set_is_refused(root) -> None:
    with pytest.raises(UsageError, match=r"data\.batch_size=31 .* 30 images"):
        build(root, batch_size=31)


def test_a_batch_that_cannot_be_shared_is_refused(root) -> None:
    with pytest.raises(UsageError, match=r"data\.batch_size=8 .* 3 processes"):
        build(root, world_size=3)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"validation": -1},
        {"split_seed": -1},
        {"train_limit": 0},
        {"crop": -1},
        {"crop": 17},
        {"flip": "sideways"},
        {"cutout": 33},
        {"mixup": -0.1},
        {"batchsize": 8},
    ],
    ids=str,
)
def test_options_out_of_range_are_refused_before_data_is_read(options) -> None:
    with pytest.raises(UsageError, match=f"data set 'digits'.*{next(iter(options))}"):
        DATASETS.check("digits", options)
