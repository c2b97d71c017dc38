"""Batches of pictures that do not fit into memory: read, decoded and augmented by workers, while others are trained on."""

from __future__ import annotations

import atexit
import signal
import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from typing import Any, BinaryIO, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from ...errors import first_line
from ...seeds import derive, generator
from ..base import Inputs, Mixed, Stateless
from ..context import DataContext
from ..order import EpochOrder
from ..pictures import unreadable
from ..spec import Images
from .augment import Augmentation, normalize, pad
from .load import ImageFacts
from .mixing import Mixing
from .worker_transforms import Transform

Key = tuple[int, int]  # epoch, row


class Reader(Protocol):
    """Reads pictures, as timm's readers of folders, tar files and data sets of the hub do."""

    def __len__(self) -> int:
        """Number of pictures."""

    def __getitem__(self, index: int) -> tuple[BinaryIO, int]:
        """A picture's file and class."""

    def filename(self, index: int, absolute: bool = ...) -> str:
        """A picture's name."""


@dataclass(frozen=True)
class Split:
    """Some of the pictures of a reader.

    Attributes:
        reader: The reader.
        rows: Which, int64 [N].
    """

    reader: Reader
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def pick(self, rows: Tensor) -> Split:
        """Some of these, by their indices here."""
        return Split(self.reader, self.rows[rows])


@dataclass(frozen=True)
class _Unreadable:
    """Returned by a worker for a picture that it cannot read: an exception would arrive with a traceback in its message."""

    name: str
    reason: str


class _Pictures(Dataset[Any]):
    """The pictures of a split by (epoch, row), decoded; their random choices follow from these and the seed."""

    def __init__(self, split: Split, transform: Transform, seed: int) -> None:
        self._split, self._transform, self._seed = split, transform, seed
        self.reader = split.reader

    def __getitem__(self, key: Key) -> tuple[Tensor, int] | _Unreadable:
        epoch, row = key
        index = int(self._split.rows[row])
        try:
            file, label = self._split.reader[index]
            with file:
                pixels = self._transform(file, derive(self._seed, "augment", epoch, index))
        except OSError as error:
            name = self._split.reader.filename(index, absolute=True) or f"picture {index}"  # tables may have no names
            return _Unreadable(name, first_line(error))
        return pixels.permute(1, 2, 0), int(label)


def _collate(pictures: Sequence[Any]) -> Any:
    bad = [picture for picture in pictures if isinstance(picture, _Unreadable)]
    return bad[0] if bad else default_collate(list(pictures))


def _keys(order: EpochOrder, step: int) -> Iterator[list[Key]]:
    # No method: a cycle of references would leave the workers to the garbage collector, which closes their queues first,
    # so that none is told to end and torch waits ten seconds for each.
    while True:
        yield [(step // order.steps_per_epoch, row) for row in order.local_batch(step).tolist()]
        step += 1


def _begin(_: int) -> None:
    """Prepares a worker."""
    # A worker that ended on SIGTERM or Ctrl-C would end the run before it has saved itself.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _close_tar(state: Any) -> None:
    """Closes a tar file of timm's reader, and those within."""
    for inner in state.children.values():
        _close_tar(inner)
    if state.tf is not None:
        state.tf.close()
        state.reset()


_workers: weakref.WeakSet[BaseProcess] = weakref.WeakSet()


@atexit.register
def _end_workers() -> None:
    """Ends the workers that are left: they ignore SIGTERM, and Python would wait for them forever."""
    if _workers:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would raise that a worker was killed
    for worker in list(_workers):
        worker.kill()


class StreamedImages(Stateless):
    """Implements `idinit_suite.data.Batches` for pictures in files.

    The order of an epoch is drawn from ``(seed, "order", epoch)``, the choices of a picture from ``(seed, "augment", epoch,
    picture)`` and those of a batch from ``(seed, "mix", step)``: a batch is the same for any number of workers and processes.
    With an ``augmentation``, a batch is augmented as `ImageBatches` would, by choices from ``(seed, "augment", step)``.
    """

    def __init__(
        self,
        splits: Mapping[str, Split],
        about: ImageFacts,
        context: DataContext,
        *,
        batch_size: int,
        training: Transform,
        evaluation: Transform,
        shape: tuple[int, int, int],
        mixing: Mixing,
        augmentation: Augmentation | None = None,
    ) -> None:
        """Prepares to read; workers start with the first batch.

        Args:
            splits: ``train`` and others.
            about: What else is known of the pictures.
            context: Where batches are made.
            batch_size: Pictures in a training batch of all processes together.
            training: What happens to a training picture.
            evaluation: What happens to a picture of evaluation.
            shape: Channels, height and width of the pictures.
            mixing: How pictures of a batch are mixed.
            augmentation: Crop, flip and cutout of a training batch, after what happens to each picture.

        Raises:
            UsageError: If an epoch would have no batch, or a batch cannot be shared out evenly or mixed.
        """
        on_cpu = replace(context, device=torch.device("cpu"))
        self._order = EpochOrder(len(splits["train"]), batch_size, on_cpu, noun="images")
        mixing.require_pairs(batch_size // context.world_size)
        self.batch_size, self.steps_per_epoch = batch_size, self._order.steps_per_epoch
        self.spec = Images(shape, about.num_classes)
        self.checksum, self.source, self.facts = about.checksum, about.source, dict(about.facts)
        self._sets, self._context, self._mixing = splits, context, mixing
        self._training, self._evaluation, self._augmentation = training, evaluation, augmentation
        self._mean, self._std = (torch.tensor(values, device=context.device) for values in (about.mean, about.std))
        self._next: int | None = None  # the step of the batch that comes next
        self._batches: Iterator[Any] = iter(())

    @property
    def splits(self) -> Mapping[str, int]:
        """Number of pictures in each split."""
        return {name: len(split) for name, split in self._sets.items()}

    def example_inputs(self, count: int = 2) -> Inputs:
        """The first training pictures, up to all, prepared as for evaluation, float32 [count, *shape], a model's only input."""
        pictures = _Pictures(self._sets["train"], self._evaluation, 0)
        images, _ = self._on_device(_collate([pictures[0, row] for row in range(min(count, len(self._sets["train"])))]))
        if (state := getattr(pictures.reader, "tar_state", None)) is not None:
            _close_tar(state)  # or workers, which are forks of this process, would share its position in the file
        return (self._normalize(images),)

    def train_batch(self, step: int) -> tuple[Inputs, Tensor | Mixed]:
        """This process's share of a training batch; those of the steps that follow are read meanwhile.

        Args:
            step: Global step from 0, through all epochs.

        Returns:
            Pictures, float32 [batch_size / world_size, *shape], the only input, and labels, int64
            [batch_size / world_size], or `Mixed`.

        Raises:
            UsageError: Naming a picture that cannot be read.
        """
        if step != self._next:
            pictures = _Pictures(self._sets["train"], self._training, self._context.seed)
            self._batches = self._read(pictures, _keys(self._order, step))
        self._next = step + 1
        images, labels = self._on_device(next(self._batches))
        return self._mixing(self._augmented(images, step), labels, generator(self._context.seed, "mix", step))

    def evaluation_batches(self, split: str) -> Iterator[tuple[Inputs, Tensor]]:
        """This process's share of a split, without augmentation: every ``world_size``-th picture, in order.

        Args:
            split: One of `splits`.

        Yields:
            As `train_batch`; the last batch may be smaller.
        """
        self.stop_workers()
        shares = self._context.own_batches(self.batch_size, torch.arange(len(self._sets[split])))
        keys = [[(0, row) for row in rows.tolist()] for (rows,) in shares]
        for batch in self._read(_Pictures(self._sets[split], self._evaluation, 0), keys):
            images, labels = self._on_device(batch)
            yield (self._normalize(images),), labels

    def stop_workers(self) -> None:
        """Ends the workers of training, which would idle during an evaluation and after the end or failure of a run."""
        self._next, self._batches = None, iter(())

    def _read(self, pictures: _Pictures, keys: Any) -> Iterator[Any]:
        workers = self._context.workers
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "This DataLoader will create")  # as many workers as were asked for
            loader = DataLoader(
                pictures,
                batch_sampler=keys,
                num_workers=workers,
                collate_fn=_collate,
                pin_memory=self._context.device.type == "cuda",
                worker_init_fn=_begin if workers else None,
                generator=torch.Generator(),  # else it would draw from the global state
            )
            others = set(active_children())
            batches = iter(loader)
        _workers.update(set(active_children()) - others)
        return batches

    def _on_device(self, batch: Any) -> tuple[Tensor, Tensor]:
        if isinstance(batch, _Unreadable):
            self.stop_workers()
            raise unreadable(batch.name, batch.reason)
        images, labels = map(self._context.to_device, batch)
        return images, labels

    def _augmented(self, images: Tensor, step: int) -> Tensor:
        if self._augmentation is None:
            return self._normalize(images)
        random = generator(self._context.seed, "augment", step, device=images.device)
        height, width = self.spec.shape[1:]
        draws = self._augmentation.draw(self.batch_size, (height, width), random)[self._context.local_slice(self.batch_size)]
        padded = pad(images.permute(0, 3, 1, 2), self._augmentation.padding)
        cropped = self._augmentation.pixels(padded, torch.arange(len(images), device=images.device), draws)
        return self._augmentation.cut(self._normalize(cropped), draws)

    def _normalize(self, images: Tensor) -> Tensor:
        return normalize(images, self._mean, self._std, channels_last=self._context.channels_last)
