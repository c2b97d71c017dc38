"""A name -> all images of a set, in memory, however they are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from idinit.errors import UsageError, did_you_mean

from .. import cache
from ..locate import other_data, resolve
from ..readers import Decoded
from .datasets import IMAGE_SETS, ImageSet

_READER = 1  # raised when the same files would be decoded to other arrays


@dataclass(frozen=True)
class ImageFacts:
    """Description of a set of images, besides its pixels.

    Attributes:
        num_classes: Number of classes.
        mean: Of each channel over all training images, for pixels in [0, 1].
        std: Standard deviation likewise.
        checksum: SHA-256 of images and labels, in hex.
        source: Title of what was read; says so where the images are a JPEG copy.
        facts: What else goes with the results of a run.
    """

    num_classes: int
    mean: Sequence[float]
    std: Sequence[float]
    checksum: str
    source: str
    facts: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ImageData(ImageFacts):
    """A set of images in memory, with its description.

    Attributes:
        train_images: uint8 [N, C, S, S], S the set's `ImageSet.side`.
        train_labels: int64 [N].
        test_images: uint8 [M, C, S, S].
        test_labels: int64 [M].
        classes: Names of the classes in the order of the labels.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: tuple[str, ...]


def load_images(name: str, root: Path) -> ImageData:
    """Finds a set of images, decodes it or loads what an earlier call has decoded, and verifies it.

    Args:
        name: One of ``digits``, ``digits16``, ``cifar10``, ``cifar100``, ``fashion_mnist``.
        root: The data root: a folder with one or more sets, each in torchvision's or the Hugging Face hub's layout.

    Returns:
        The images. Those of 28x28 have a black border of 2 pixels added.

    Raises:
        UsageError: If the name is unknown, the set is found nowhere, or one of its files is damaged.
    """
    if name not in IMAGE_SETS:
        raise UsageError(f"unknown data set '{name}': {did_you_mean(name, IMAGE_SETS)}")
    image_set = IMAGE_SETS[name]
    source = resolve(name, image_set.places, root)
    read_as: dict[str, Any] = {
        "reader": _READER,
        "side": image_set.side,
        "channels": image_set.channels,
        "classes": image_set.num_classes,
    }
    path = cache.folder(root) / f"{name}-{cache.key(source.files, **read_as)}.safetensors"
    arrays, facts = cache.cached(path, lambda: _build(name, image_set, source.read()))
    return ImageData(
        **arrays,
        classes=tuple(facts["classes"]),
        num_classes=image_set.num_classes,
        mean=facts["mean"],
        std=facts["std"],
        checksum=facts["checksum"],
        source=facts["source"],
        facts={},
    )


def _build(name: str, image_set: ImageSet, decoded: Decoded) -> cache.Content:
    arrays = {}
    for split, images in decoded.images.items():
        labels = decoded.labels[split]
        _require_sound(name, split, image_set, images, labels)
        border = (image_set.side - images.shape[-1]) // 2
        arrays[f"{split}_images"] = pad(images, (border,) * 4).contiguous()
        arrays[f"{split}_labels"] = labels
    mean, std = channel_statistics(arrays["train_images"])
    numbers = [str(number) for number in range(image_set.num_classes)]
    sizes = {split: len(labels) for split, labels in decoded.labels.items()}
    title = image_set.title if tuple(sizes.values()) == image_set.sizes else other_data(image_set.title, sizes)
    facts = {
        "classes": decoded.classes if len(decoded.classes) == len(numbers) else numbers,
        "mean": mean,
        "std": std,
        "source": f"{title} (JPEG copy)" if decoded.jpeg else title,
    }
    return arrays, facts


def _require_sound(name: str, split: str, image_set: ImageSet, images: Tensor, labels: Tensor) -> None:
    problem = ""
    if len(images) != len(labels):
        problem = f"{len(images)} images but {len(labels)} labels"
    elif images.shape[1] != image_set.channels or images.shape[2:] not in ((28, 28), (image_set.side, image_set.side)):
        problem = f"images of shape {tuple(images.shape[1:])}"
    elif labels.min() < 0 or labels.max() >= image_set.num_classes:
        problem = f"labels from {int(labels.min())} to {int(labels.max())} for {image_set.num_classes} classes"
    if problem:
        raise UsageError(f"data set '{name}', {split}: {problem}; the files hold something else: replace them")


def channel_statistics(images: Tensor) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, exact to double precision, for pixels in [0, 1].

    Args:
        images: uint8 [N, C, H, W].

    Returns:
        Two lists of C numbers.
    """
    return statistics(histogram(images.transpose(0, 1)))


def histogram(channels: Tensor) -> Tensor:
    """How often each channel has each of the 256 levels.

    Args:
        channels: uint8 [C, ...].

    Returns:
        int64 [C, 256].
    """
    return torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in channels])


def statistics(counts: Tensor) -> tuple[list[float], list[float]]:
    """See `channel_statistics`; from the sum of some `histogram`."""
    levels = torch.arange(256, dtype=torch.float64) / 255
    means, deviations = [], []
    for count in counts:
        share = count.double() / count.sum()
        mean = share @ levels
        means.append(mean.item())
        deviations.append((share @ (levels - mean).square()).sqrt().item())
    return means, deviations
