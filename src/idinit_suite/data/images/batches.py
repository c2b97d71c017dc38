"""Batches of images from memory, and the sets of images by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor

from ...seeds import derive, generator
from ..base import DATASETS, DatasetInfo, Inputs, Mixed, Stateless
from ..context import DataContext
from ..order import EpochOrder
from ..spec import Images
from ..splits import split
from .augment import Augmentation, Draws, normalize, pad
from .datasets import IMAGE_SETS, ImageSet
from .load import ImageFacts, load_images


class ImageBatches(Stateless):
    """Implements :class:`idinit_suite.data.Batches` for images held on the device as uint8.

    The order of an epoch is a permutation drawn from ``(seed, "order", epoch)``, the same on every device; augmentation
    of a step is drawn from ``(seed, "augment", step)`` for the global batch, of which each process makes its share.
    """

    def __init__(
        self,
        splits: Mapping[str, tuple[Tensor, Tensor]],
        about: ImageFacts,
        context: DataContext,
        *,
        batch_size: int,
        augmentation: Augmentation,
        mixup: float = 0.0,
    ) -> None:
        """Moves the images to the device.

        Args:
            splits: Images, uint8 [N, C, H, W], and labels, int64 [N], of ``train`` and other splits; empty ones are left out.
            about: What else is known of the images.
            context: Where images are kept and batches made.
            batch_size: Images in a training batch of all processes together.
            augmentation: Crop, flip and cutout of training images.
            mixup: Parameter of the Beta(mixup, mixup) distribution of mixing weights (Zhang et al., 2018); 0 for none.

        Raises:
            UsageError: If an epoch would have no batch, or the batch cannot be shared out evenly.
        """
        images, labels = splits["train"]
        self._order = EpochOrder(len(labels), batch_size, context, noun="images")
        self.batch_size, self.steps_per_epoch = batch_size, self._order.steps_per_epoch
        self.spec = Images(tuple(images.shape[1:]), about.num_classes)
        self.checksum, self.source, self.facts = about.checksum, about.source, dict(about.facts)
        self._augmentation, self._mixup, self._context = augmentation, mixup, context
        device = context.device
        self._mean, self._std = torch.tensor(about.mean, device=device), torch.tensor(about.std, device=device)
        padding, (height, width) = augmentation.padding, self.spec.shape[1:]
        self._padded = pad(images, padding).to(device)
        self._labels = labels.to(device)
        self._splits = {"train": (self._padded[:, padding : padding + height, padding : padding + width], self._labels)}
        for name, (images, labels) in splits.items():
            if name != "train" and len(labels):
                self._splits[name] = (pad(images, 0).to(device), labels.to(device))

    @property
    def splits(self) -> Mapping[str, int]:
        """Number of images in each split."""
        return {name: len(labels) for name, (_, labels) in self._splits.items()}

    def example_inputs(self, count: int = 2) -> Inputs:
        """The first training images, float32 [count, C, H, W], as the only input of a model."""
        return (self._normalize(self._splits["train"][0][:count]),)

    def train_batch(self, step: int) -> tuple[Inputs, Tensor | Mixed]:
        """This process's share of a training batch.

        Args:
            step: Global step from 0, through all epochs.

        Returns:
            Images, float32 [batch_size / world_size, C, H, W], the only input, and labels, int64 [batch_size / world_size], or
            :class:`Mixed`.
        """
        rows = self._order.batch(step)
        device, seed = self._context.device, self._context.seed
        random = generator(seed, "augment", step, device=device)
        height, width = self.spec.shape[1:]
        draws = self._augmentation.draw(self.batch_size, (height, width), random)
        mine = self._context.local_slice(self.batch_size)
        images, labels = self._augmented(rows[mine], draws[mine]), self._labels[rows[mine]]
        if not self._mixup:
            return (images,), labels
        other = torch.randperm(self.batch_size, generator=random, device=device)[mine]
        weight = np.random.default_rng(derive(seed, "mixup", step)).beta(self._mixup, self._mixup)
        images = self._augmented(rows[other], draws[other]).lerp_(images, weight)
        return (images,), Mixed(labels, self._labels[rows[other]], torch.full((), weight, device=device))

    def evaluation_batches(self, split: str) -> Iterator[tuple[Inputs, Tensor]]:
        """This process's share of a split, without augmentation: every ``world_size``-th image, in order.

        Args:
            split: One of :attr:`splits`.

        Yields:
            Images, float32 [B, C, H, W], the only input, and labels, int64 [B]; B is that of a training batch, the last
            may be smaller.
        """
        for images, labels in self._context.own_batches(self.batch_size, *self._splits[split]):
            yield (self._normalize(images),), labels

    def _augmented(self, rows: Tensor, draws: Draws) -> Tensor:
        images = self._normalize(self._augmentation.pixels(self._padded, rows, draws))
        return self._augmentation.cut(images, draws)

    def _normalize(self, images: Tensor) -> Tensor:
        return normalize(images, self._mean, self._std, channels_last=self._context.channels_last)


def _register(name: str, image_set: ImageSet) -> None:
    """Registers a set of images: all have the same options, with defaults of their own."""

    def build(
        context: DataContext,
        *,
        batch_size: PositiveInt = 128,
        validation: NonNegativeInt = image_set.validation,
        split_seed: NonNegativeInt = 0,
        train_limit: PositiveInt | None = None,
        crop: Annotated[int, Field(ge=0, le=16)] = 4,
        flip: bool = image_set.flip,
        cutout: Annotated[int, Field(ge=0, le=32)] = 0,
        mixup: NonNegativeFloat = 0.0,
    ) -> ImageBatches:
        data = load_images(name, context.root)
        train, held_out = split(data.train_labels, validation, split_seed)
        rows = {"train": train[:train_limit], "validation": held_out}
        splits = {name: (data.train_images[chosen], data.train_labels[chosen]) for name, chosen in rows.items()}
        return ImageBatches(
            {**splits, "test": (data.test_images, data.test_labels)},
            data,
            context,
            batch_size=batch_size,
            augmentation=Augmentation(crop, flip, cutout),
            mixup=mixup,
        )

    build.__doc__ = (
        f"{image_set.title}: {image_set.num_classes} classes, {image_set.channels}x{image_set.side}x{image_set.side}."
    )
    DATASETS.register(name, DatasetInfo(Images, classes=image_set.num_classes))(build)


for _name, _image_set in IMAGE_SETS.items():
    _register(_name, _image_set)
