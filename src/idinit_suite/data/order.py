"""The order of examples: which are in the batch of a step."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from idinit.errors import UsageError

from ..seeds import generator
from .context import DataContext

_STRETCH = 20  # batches whose examples are sorted together


class EpochOrder:
    """A permutation of the training examples for each epoch, drawn from ``(seed, "order", epoch)``.

    With ``lengths``, each stretch of 20 batches is sorted by them and its batches shuffled, so that a batch holds examples of
    about the same length and little is padded.

    Attributes:
        steps_per_epoch: Batches in an epoch; what does not fill a batch is left out.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        context: DataContext,
        *,
        noun: str = "examples",
        lengths: Tensor | None = None,
    ) -> None:
        """Checks that there are batches, and that they can be shared out.

        Args:
            count: Examples to train on.
            batch_size: Examples in a batch of all processes together.
            context: Where batches are made.
            noun: What an error calls the examples.
            lengths: Length of each example, [count], on the CPU.

        Raises:
            UsageError: If an epoch would have no batch, or a batch cannot be shared out evenly.
        """
        if batch_size > count:
            raise UsageError(
                f"data.batch_size={batch_size} is more than the {count} {noun} to train on: ask for less of "
                "data.batch_size or data.validation, or more of data.train_limit"
            )
        if batch_size % context.world_size:
            raise UsageError(f"data.batch_size={batch_size} cannot be shared by {context.world_size} processes: use a multiple")
        self.steps_per_epoch = count // batch_size
        self._count, self._batch_size, self._context, self._lengths = count, batch_size, context, lengths
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    def batch(self, step: int) -> Tensor:
        """The examples of a global step (from 0, through all epochs), all processes together: int64 [batch_size]."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            random = generator(self._context.seed, "order", epoch)
            self._epoch, self._order = epoch, self._draw(random).to(self._context.device)
        return self._order[position * self._batch_size : (position + 1) * self._batch_size]

    def local_batch(self, step: int) -> Tensor:
        """This process's part of `batch`: int64 [batch_size / world_size]."""
        return self.batch(step)[self._context.local_slice(self._batch_size)]

    def _draw(self, random: Generator) -> Tensor:
        order = torch.randperm(self._count, generator=random)
        if self._lengths is None:
            return order
        stretches = order[: self.steps_per_epoch * self._batch_size].split(_STRETCH * self._batch_size)
        batches = torch.cat([rows[self._lengths[rows].argsort(stable=True)] for rows in stretches]).view(-1, self._batch_size)
        return batches[torch.randperm(len(batches), generator=random)].flatten()
