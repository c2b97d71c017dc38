"""The nodes of a job that train each run together: the sweep on the first one says which is next, and the others follow."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import timedelta

import submitit
from torch.distributed import DistError, TCPStore  # type: ignore[attr-defined]  # its module does not list it

from ..errors import Preempted

_PORTS = range(20_000, 30_000)  # below those that Linux gives to outgoing connections
_POLL_S = 0.5
_NONE = "none"  # there are no more runs
_GOODBYE = timedelta(seconds=10)


@dataclass(frozen=True)
class Announcement:
    """What the first node says of the run that is next.

    Attributes:
        config: The run, as JSON.
        processes: On each node.
        port: On the first node, where the processes meet.
    """

    config: str
    processes: int
    port: int


class Nodes:
    """The nodes of a job, as seen by one of them.

    Args:
        count: How many.
        rank: Number of this one.
        address: The first one's.
        port: Free on the first one; all know it.
    """

    def __init__(self, count: int, rank: int, address: str, port: int) -> None:
        self.count, self.rank, self.address = count, rank, address
        self._store = TCPStore(address, port, is_master=rank == 0, wait_for_workers=False)
        self._number = 0  # of the next announcement

    def announce(self, run: Announcement) -> None:
        """Announces on the first node which run is next."""
        self._store.set(f"run {self._number}", json.dumps(asdict(run)))
        self._number += 1

    def announced(self, stop: threading.Event) -> Iterator[Announcement]:
        """The runs as the first node announces them, until it has no more.

        Raises:
            Preempted: If ``stop`` is set.
        """
        while True:
            key = f"run {self._number}"
            while not self._store.check([key]):  # to wait in the store would be deaf to signals
                if stop.wait(_POLL_S):
                    raise Preempted(f"node {self.rank} of the job")
            text = self._store.get(key).decode()
            if text == _NONE:
                return
            yield Announcement(**json.loads(text))
            self._number += 1

    def leave(self) -> None:
        """Says that this node is done; on the first one, that there are no more runs, and waits until the others know it."""
        if self.rank:
            self._store.set(f"left {self.rank}", "")
            return
        self._store.set(f"run {self._number}", _NONE)
        with suppress(DistError):  # those that are gone do not answer
            self._store.wait([f"left {rank}" for rank in range(1, self.count)], _GOODBYE)


@contextmanager
def nodes_of_job() -> Iterator[Nodes | None]:
    """The nodes of the job of Slurm's that this process belongs to, for the time of its work; None for a job of one node."""
    job = submitit.JobEnvironment()
    if job.num_nodes == 1:
        yield None
        return
    nodes = Nodes(job.num_nodes, job.global_rank, job.hostnames[0], _PORTS[int(job.raw_job_id) % len(_PORTS)])
    try:
        yield nodes
    finally:
        nodes.leave()
