"""What the trainer asks of a data set, and the registry of those there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol

from torch import Tensor

from ..registry import Registry


class Mixed(NamedTuple):
    """Targets of a batch under mixup; its loss is ``lam * loss(labels_a) + (1 - lam) * loss(labels_b)``.

    Attributes:
        labels_a: int64 [B].
        labels_b: int64 [B], the labels of the images mixed in.
        lam: float32 scalar tensor on the device of the labels.
    """

    labels_a: Tensor
    labels_b: Tensor
    lam: Tensor


class Batches(Protocol):
    """Batches of one data set on one device, as one of ``world`` processes sees them.

    A training batch is a function of ``(seed, step)`` and of nothing else, so a run can be resumed at any step, and
    processes that slice the same global batch need not talk to each other.
    """

    @property
    def batch_size(self) -> int:
        """Examples in a training batch of all processes together."""

    @property
    def steps_per_epoch(self) -> int:
        """Training batches in an epoch; what does not fill a batch is left out."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example, without the batch."""

    @property
    def num_classes(self) -> int:
        """Number of classes."""

    @property
    def splits(self) -> Mapping[str, int]:
        """Number of examples in each split: ``train``, ``test``, and ``validation`` where one was asked for."""

    @property
    def checksum(self) -> str:
        """SHA-256 of the data as decoded, in hex."""

    @property
    def source(self) -> str:
        """What was read, for people: ``CIFAR-10 (JPEG copy)``. Results must say it."""

    def example_inputs(self, count: int = 2) -> tuple[Tensor, ...]:
        """What a model is called with, for ``count`` training examples: the same at every call, not augmented."""

    def train_batch(self, step: int) -> tuple[Tensor, Tensor | Mixed]:
        """This process's share of the training batch of a global step (from 0, through all epochs)."""

    def evaluation_batches(self, split: str) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's share of a split, without augmentation, every example exactly once over all processes."""


#: A registered function is called as ``build(root, seed, device, rank, world, channels_last, **options)`` and returns
#: :class:`Batches`.
DATASETS: Registry[Callable[..., Batches]] = Registry("data set")
