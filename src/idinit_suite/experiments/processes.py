"""Processes on this machine, each with its own share of the cores and its own GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any


def cores() -> list[int]:
    """The cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def shares(jobs: int, cores: Sequence[int], gpus: int) -> list[tuple[list[int], int | None]]:
    """The cores and the GPU of each of some processes, as equal as can be; with more processes than cores they take turns.

    Returns:
        For each process its cores, and the number of its GPU or None where there is none.
    """
    taken = [list(cores[number::jobs]) or [cores[number % len(cores)]] for number in range(jobs)]
    return [(own, number % gpus if gpus else None) for number, own in enumerate(taken)]


def start(code: str, arguments: Sequence[str], cores: Sequence[int], gpu: int | None, **pipes: Any) -> subprocess.Popen[str]:
    """Starts Python on some cores, in a session of its own, so that Ctrl-C does not reach it.

    Args:
        code: What to run.
        arguments: Its ``sys.argv[1:]``.
        cores: Cores to run on, where the system can bind a process to them; as many threads as cores.
        gpu: Number of the one GPU to see, of those that this process sees; None for all.
        pipes: ``stdin``, ``stdout`` and ``stderr`` of `subprocess.Popen`.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(len(cores))}
    if gpu is not None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        environment["CUDA_VISIBLE_DEVICES"] = visible[gpu] if len(visible) > gpu and visible[gpu] else str(gpu)
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], env=environment, text=True, start_new_session=True, **pipes
    )
    if hasattr(os, "sched_setaffinity"):
        with suppress(ProcessLookupError):  # it may have ended already; its exit code says why
            os.sched_setaffinity(process.pid, cores)  # it has one thread yet, from which the others inherit it
    return process
