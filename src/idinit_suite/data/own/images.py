"""A user's own images in memory, however they were read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from idinit.errors import UsageError

from .. import cache
from ..context import DataContext
from ..images.augment import Augmentation
from ..images.batches import ImageBatches
from ..images.load import ImageFacts, histogram, statistics
from ..splits import SplitOptions
from .folders import SPLITS


@dataclass(frozen=True)
class ImageOptions:
    """The options that all of a user's sets of images have."""

    batch_size: int
    splitting: SplitOptions
    augmentation: Augmentation
    mixup: float


def own_images(
    found: Mapping[str, tuple[Tensor, Tensor]], about: ImageFacts, context: DataContext, options: ImageOptions
) -> ImageBatches:
    """Batches of a user's images."""
    return ImageBatches(
        options.splitting.whole(found, found["train"][1], pick),
        about,
        context,
        batch_size=options.batch_size,
        augmentation=options.augmentation,
        mixup=options.mixup,
    )


def pick(examples: tuple[Tensor, Tensor], rows: Tensor) -> tuple[Tensor, Tensor]:
    """Some of the inputs and their labels."""
    inputs, labels = examples
    return inputs[rows], labels[rows]


def image_facts_of(arrays: Mapping[str, Tensor], classes: Sequence[str], source: str) -> dict[str, Any]:
    """The facts that the cache keeps beside decoded images."""
    return image_facts(histogram(arrays["train_images"].transpose(0, 1)), classes, source)


def image_facts(counts: Tensor, classes: Sequence[str], source: str) -> dict[str, Any]:
    """The facts about images that a cache keeps.

    Args:
        counts: How often each channel of the training images has each level, int64 [C, 256].
        classes: Names of the classes.
        source: What was read, for people.

    Raises:
        UsageError: If a channel has but one level.
    """
    mean, std = statistics(counts)
    if not all(std):
        raise UsageError(f"{source}: a channel has the same value in all pixels of all training pictures: use others")
    return {"classes": list(classes), "mean": mean, "std": std, "source": source}


def from_cache(content: cache.Content) -> tuple[dict[str, tuple[Tensor, Tensor]], ImageFacts]:
    """Splits and facts as the cache keeps them."""
    arrays, facts = content
    splits = {split: (arrays[f"{split}_images"], arrays[f"{split}_labels"]) for split in SPLITS if f"{split}_images" in arrays}
    return splits, facts_of(facts, facts["checksum"])


def facts_of(known: Mapping[str, Any], checksum: str) -> ImageFacts:
    """The description of images from what `image_facts` gave."""
    classes = len(known["classes"])
    return ImageFacts(classes, known["mean"], known["std"], checksum, known["source"], {"classes": classes})
