"""The interface of data sets to the trainer, and their registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from idinit.errors import UsageError
from idinit.registry import Registry

from .spec import MaskedTokens, Spec

Inputs = tuple[Tensor, ...]  # what a model is called with


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
    """Batches of one data set on one device, as one of ``world_size`` processes sees them.

    A training batch is a function of ``(seed, step)`` and of nothing else, so a run can be resumed at any step, and
    processes that slice the same global batch need not communicate. Only a stream, which cannot be read at any
    position, has a state of its own.
    """

    @property
    def spec(self) -> Spec:
        """Shapes and sizes of the data, for which a model is built."""

    @property
    def batch_size(self) -> int:
        """Examples in a training batch of all processes together."""

    @property
    def steps_per_epoch(self) -> int:
        """Training batches in an epoch; what does not fill a batch is left out."""

    @property
    def splits(self) -> Mapping[str, int]:
        """Number of examples in each split: ``train``, ``test``, and ``validation`` where one was asked for."""

    @property
    def tokens_per_step(self) -> int | None:
        """Tokens in a training batch of all processes together; None where examples are not texts of one length."""

    @property
    def checksum(self) -> str:
        """SHA-256 of the data as decoded, in hex."""

    @property
    def source(self) -> str:
        """Title of what was read: ``CIFAR-10 (JPEG copy)``. Results state it and compare only runs of one source."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What else goes with the results of a run; empty in most."""

    def example_inputs(self, count: int = 2) -> Inputs:
        """What a model is called with, for ``count`` training examples: the same at every call, not augmented."""

    def train_batch(self, step: int) -> tuple[Inputs, Tensor | Mixed]:
        """This process's share of the training batch of a global step (from 0, through all epochs)."""

    def evaluation_batches(self, split: str) -> Iterator[tuple[Inputs, Tensor]]:
        """This process's share of a split, without augmentation, every example exactly once over all processes."""

    def state_dict(self) -> dict[str, Any]:
        """The position of a stream after the last training batch; empty where a batch follows from its step."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes to a position that `state_dict` returned."""


class Stateless:
    """The part of `Batches` that most data have in common: a batch follows from its step, and has no fixed number of tokens."""

    tokens_per_step: int | None = None

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to do."""


@dataclass(frozen=True)
class DatasetInfo:
    """Description of a data set, before it is read.

    Attributes:
        gives: The class of its spec, or a union of several.
        classes: Number of classes; None for a vocabulary, and for data of one's own.
    """

    gives: type | UnionType
    classes: int | None = None


#: A registered function is called as ``build(context, **options)``, with a `DataContext`, and returns `Batches`.
DATASETS: Registry[Callable[..., Batches], DatasetInfo] = Registry("data set")


def predicts_tokens(name: str) -> bool:
    """Whether a run on a data set trains a language model, which is judged by its loss and not by its accuracy."""
    return DATASETS[name].info.gives is MaskedTokens


def micro_batches(inputs: Inputs, targets: Tensor | Mixed, count: int) -> list[tuple[Inputs, Tensor | Mixed]]:
    """A batch cut into ``count`` of equal size along its first dimension.

    Raises:
        UsageError: If it cannot be cut evenly.
    """
    if count == 1:
        return [(inputs, targets)]
    labels = targets.labels_a if isinstance(targets, Mixed) else targets
    if any(len(tensor) % count for tensor in (*inputs, labels)):
        raise UsageError(f"train.accumulate={count} does not divide a batch of {len(inputs[0])}: use a divisor")
    cut: list[Any] = list(zip(*(tensor.chunk(count) for tensor in inputs), strict=True))
    if isinstance(targets, Mixed):
        pairs = zip(targets.labels_a.chunk(count), targets.labels_b.chunk(count), strict=True)
        return [(part, Mixed(a, b, targets.lam)) for part, (a, b) in zip(cut, pairs, strict=True)]
    return list(zip(cut, targets.chunk(count), strict=True))
