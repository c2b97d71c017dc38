"""The processes of a run: rank and world size from torchrun, and the exchanges that the loop needs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..errors import LostProcess


@dataclass(frozen=True)
class Team:
    """The processes that train one run together.

    Attributes:
        rank: Number of this process, 0 to world_size - 1. Rank 0 alone writes.
        world_size: Number of processes.
        device: The device of this process.
        local_world_size: Number of those on this machine, which share its cores.
    """

    rank: int
    world_size: int
    device: torch.device
    local_world_size: int = 1

    @property
    def is_main_process(self) -> bool:
        """Whether this process writes the run folder."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model with its gradients averaged over the processes."""
        return DistributedDataParallel(model) if self.world_size > 1 else model

    def no_sync(self, model: nn.Module) -> AbstractContextManager[None]:
        """Accumulates gradients of a wrapped model locally, as `DistributedDataParallel.no_sync`."""
        return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()

    def broadcast_buffers(self, model: nn.Module) -> None:
        """Gives every process rank 0's buffers: otherwise BatchNorm's statistics are those of its share of a batch."""
        if self.world_size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)

    def all_reduce_sum(self, values: Tensor) -> Tensor:
        """Sum of a tensor over the processes."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Whether a flag is set in some process. Waits for the device."""
        return bool(self.all_reduce_sum(torch.tensor(float(flag), device=self.device))) if self.world_size > 1 else flag

    def broadcast(self, value: Any) -> Any:
        """Rank 0's value, on every rank."""
        box: list[Any] = [value]
        if self.world_size > 1:
            dist.broadcast_object_list(box)
        return box[0]


@contextmanager
def join_team(device: torch.device) -> Iterator[Team]:
    """Joins the processes started by torchrun, if any, for the time of a run."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield Team(0, 1, device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    started_here = not dist.is_initialized()
    if started_here:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Team(dist.get_rank(), world_size, device, int(os.environ.get("LOCAL_WORLD_SIZE", world_size)))
    finally:
        if started_here:
            dist.destroy_process_group()


def lost_process(error: Exception, run: str, world_size: int) -> LostProcess | None:
    """The error of a failed exchange, as another process of the run has ended; None for any other error."""
    of_an_exchange = isinstance(error, dist.DistError) or ("onnection" in str(error) and "peer" in str(error))
    if world_size == 1 or not isinstance(error, RuntimeError) or not of_an_exchange:
        return None
    return LostProcess(
        f"another process of run {run} has ended, see its output: run the same command again to go on from the last checkpoint"
    )
