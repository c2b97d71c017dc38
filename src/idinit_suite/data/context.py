"""The context of a data set: data root, seed, device, rank and world size of the run that it is for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor


@dataclass(frozen=True)
class DataContext:
    """The settings of a run on which a data set depends besides its own options.

    Attributes:
        root: The data root.
        seed: Seed of the run.
        device: Where batches are made.
        rank: Number of this process.
        world_size: Number of processes.
        channels_last: Memory format of images.
        workers: Processes that read and decode what is not kept in memory; 0 for this one.
    """

    root: Path
    seed: int = 0
    device: torch.device = torch.device("cpu")
    rank: int = 0
    world_size: int = 1
    channels_last: bool = False
    workers: int = 0

    def to_device(self, values: Tensor) -> Tensor:
        """Values of the host where batches are made, copied there without a wait."""
        pinned = values.pin_memory() if self.device.type == "cuda" and not values.is_pinned() else values
        return pinned.to(self.device, non_blocking=True)

    def local_slice(self, count: int) -> slice:
        """This process's part of ``count`` examples; all parts are of one size, but for the last where there is a remainder."""
        size = -(-count // self.world_size)
        return slice(self.rank * size, (self.rank + 1) * size)

    def own_batches(self, batch_size: int, *examples: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """This process's share of examples to evaluate: every ``world_size``-th, in order; the last batch may be smaller.

        Args:
            batch_size: Examples in a batch of all processes together.
            examples: Tensors of one length, such as inputs and labels.
        """
        shares = (whole[self.rank :: self.world_size].split(batch_size // self.world_size) for whole in examples)
        # of fewer examples than processes some have none
        return (batch for batch in zip(*shares, strict=True) if len(batch[0]))
