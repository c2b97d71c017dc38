"""One process or many: what torchrun says of this one, and the few exchanges the loop needs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Workers:
    """The processes that train one run together.

    Attributes:
        rank: Number of this process, 0 to world - 1. Rank 0 alone writes.
        world: Number of processes.
        device: The device of this process.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def main(self) -> bool:
        """Whether this process writes the run folder."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model with its gradients averaged over the processes."""
        return DistributedDataParallel(model) if self.world > 1 else model

    def no_exchange(self, model: nn.Module) -> AbstractContextManager[None]:
        """While it lasts, gradients of a wrapped model add up without being averaged over the processes."""
        return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()

    def share_buffers(self, model: nn.Module) -> None:
        """Gives every process rank 0's buffers: BatchNorm's statistics are else those of each one's share of a batch."""
        if self.world > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)

    def total(self, values: Tensor) -> Tensor:
        """Sum of a tensor over the processes."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def broadcast(self, value: object) -> object:
        """Rank 0's value, on every rank."""
        box = [value]
        if self.world > 1:
            dist.broadcast_object_list(box)
        return box[0]


@contextmanager
def workers(device: torch.device) -> Iterator[Workers]:
    """Joins the processes started by torchrun, if any, for the time of a run."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Workers(0, 1, device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    started_here = not dist.is_initialized()
    if started_here:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Workers(dist.get_rank(), world, device)
    finally:
        if started_here:
            dist.destroy_process_group()
