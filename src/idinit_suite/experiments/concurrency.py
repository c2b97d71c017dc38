"""Measures whether a machine trains faster with one run on all cores or with one on each, which depends on the network."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack

import torch
from filelock import FileLock

from ..atomic import read_json, write_json
from ..config import RunConfig
from ..training.compile_cache import CompiledNetworks
from ..training.distributed import join_team
from ..training.environment import describe
from ..training.progress import console
from ..training.run_folder import RunFolder
from ..training.trainer import Training
from . import processes

_WORKER = "from {module} import work; work()"
_WARM_UP = 3  # steps; the first one also compiles
_ROUNDS = 3
_SECONDS = 4.0  # of a round


def choose_jobs(runs: Sequence[RunConfig]) -> int:
    """The number of processes that train some runs fastest on this machine: one for each GPU, or as measured on its cores.

    Whole training steps of the first run that can be trained are measured, once for each machine and network.

    Args:
        runs: What is to be trained.
    """
    if gpus := torch.cuda.device_count():
        return min(gpus, len(runs))
    cores = processes.cores()
    jobs = min(len(cores), len(runs))
    if runs[0].impl.threads is not None:
        return max(1, min(jobs, len(cores) // runs[0].impl.threads))
    if jobs <= 1:
        return 1
    for config in {run.arm: run for run in reversed(runs)}.values():
        if speeds := _known_speeds(config, jobs, cores):
            one, several = speeds
            chosen = jobs if several > one else 1
            console.print(
                f"launcher.jobs={chosen}: one run on {len(cores)} cores takes {one:.3g} steps a second here, "
                f"{jobs} runs at once {several:.3g}",
                soft_wrap=True,
            )
            return chosen
    return 1


def _known_speeds(config: RunConfig, jobs: int, cores: Sequence[int]) -> tuple[float, float] | None:
    """The result of `measure`, kept from an earlier call where there was one."""
    file = config.paths.runs / ".concurrency.json"
    here = describe(torch.device("cpu"))
    network = [config.model, config.data["name"], config.data.get("batch_size"), config.optim["name"]]
    how = [config.train.precision, config.train.compile, config.train.accumulate, config.impl.model_dump(mode="json")]
    key = json.dumps([here["torch"], here["hardware"], len(cores), jobs, network, how], sort_keys=True, default=str)
    known = read_json(file) or {}
    if key not in known:
        console.print(f"launcher.jobs=auto: measuring whether {jobs} runs at once are faster than one", soft_wrap=True)
        if (speeds := measure(config, jobs, cores)) is None:
            return None
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{file}.lock"):
            write_json(file, (read_json(file) or {}) | {key: speeds}, indent=1)
        return speeds
    one, several = known[key]
    return one, several


def measure(config: RunConfig, jobs: int, cores: Sequence[int]) -> tuple[float, float] | None:
    """Steps a second of one run on all cores, and of several at once on a share each: medians of rounds that take turns.

    Args:
        config: The run.
        jobs: The number of runs at once.
        cores: Cores to use.

    Returns:
        The two; None if the run cannot be trained.
    """
    code = _WORKER.format(module=__name__)
    with ExitStack() as stack:

        def group(count: int) -> list[subprocess.Popen[str]]:
            started = []
            for own, _ in processes.shares(count, cores, 0):
                pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
                process = processes.start(code, [config.model_dump_json()], own, None, **pipes)
                stack.enter_context(process)
                stack.callback(process.kill)
                started.append(process)
            return started if all(_line(process) for process in started) else []

        one = group(1)
        several = group(jobs) if one else []
        if not several:
            return None
        speeds = [(_speed(one), _speed(several)) for _ in range(_ROUNDS)]
    return statistics.median(first for first, _ in speeds), statistics.median(second for _, second in speeds)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def _speed(group: Sequence[subprocess.Popen[str]]) -> float:
    for process in group:
        assert process.stdin is not None
        process.stdin.write(f"{_SECONDS}\n")
        process.stdin.flush()
    return sum(float(_line(process) or "nan") for process in group)


def work() -> None:
    """The main function of a process that is measured: it trains for each number of seconds read, and prints its speed."""
    config = RunConfig.model_validate_json(sys.argv[1])
    with join_team(config.impl.torch_device()) as team:
        training = Training(config, team, RunFolder(config.folder), CompiledNetworks(), threading.Event())
        for _ in range(_WARM_UP):
            training.update()
        print("ready", flush=True)
        for seconds in sys.stdin:
            steps, begun = 0, time.monotonic()
            while steps == 0 or time.monotonic() < begun + float(seconds):
                training.update()
                steps += 1
            print(steps / (time.monotonic() - begun), flush=True)
