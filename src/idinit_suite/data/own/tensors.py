"""Batches of tensors that are taken as they are: floats of one shape, or numbers of words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from ...seeds import generator
from ..base import Inputs, Stateless
from ..context import DataContext
from ..images.load import ImageFacts
from ..order import EpochOrder
from ..spec import Images, Sentences
from ..text.batches import PADDING, WIDTH


class TensorBatches(Stateless):
    """Implements `idinit_suite.data.Batches` for tensors on the device."""

    def __init__(
        self, splits: Mapping[str, tuple[Tensor, Tensor]], about: ImageFacts, context: DataContext, *, batch_size: int
    ) -> None:
        """Moves the tensors to the device.

        Args:
            splits: Inputs, float32 [N, ...] or int64 [N, T], and labels, int64 [N], of ``train`` and other splits.
            about: Their description.
            context: Where batches are made.
            batch_size: Examples in a training batch of all processes together.

        Raises:
            UsageError: If an epoch would have no batch, or the batch cannot be shared out evenly.
        """
        inputs, labels = splits["train"]
        self._order = EpochOrder(len(labels), batch_size, context)
        self.batch_size, self.steps_per_epoch = batch_size, self._order.steps_per_epoch
        self.checksum, self.source, self.facts = about.checksum, about.source, about.facts
        self._context = context
        self._splits = {name: tuple(part.to(context.device) for part in parts) for name, parts in splits.items()}
        self.spec: Images | Sentences
        if inputs.is_floating_point():
            self.spec = Images(tuple(inputs.shape[1:]), about.num_classes)
        else:
            words = 1 + max(int(part.max()) for part, _ in splits.values())
            vectors = torch.empty(words, WIDTH).uniform_(-0.25, 0.25, generator=generator(context.seed, "vectors"))
            vectors[PADDING] = 0
            self.spec = Sentences(words, inputs.shape[1], PADDING, about.num_classes, vectors)

    @property
    def splits(self) -> Mapping[str, int]:
        """Number of examples in each split."""
        return {name: len(labels) for name, (_, labels) in self._splits.items()}

    def example_inputs(self, count: int = 2) -> Inputs:
        """The first training inputs, as the only input of a model."""
        return (self._splits["train"][0][:count],)

    def train_batch(self, step: int) -> tuple[Inputs, Tensor]:
        """This process's share of the training batch of a global step (from 0, through all epochs)."""
        inputs, labels = self._splits["train"]
        rows = self._order.local_batch(step)
        return (inputs[rows],), labels[rows]

    def evaluation_batches(self, split: str) -> Iterator[tuple[Inputs, Tensor]]:
        """This process's share of a split: every ``world_size``-th example, in order; the last batch may be smaller."""
        for inputs, labels in self._context.own_batches(self.batch_size, *self._splits[split]):
            yield (inputs,), labels
