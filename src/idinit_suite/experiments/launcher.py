"""Where the runs of a sweep take place: in this process, in several on this machine, or in an array of Slurm's.

Each process is a sweep like any other. They share the runs by the locks on the run folders, so nothing is handed out.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import submitit
import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from idinit.errors import UsageError

from ..cli import run_command
from ..errors import EXIT_PREEMPTED, Preempted
from ..report.update import update_results
from ..training.preemption import stop_signals
from ..training.progress import console
from .grid import Experiment, load
from .runner import run, run_folders, unfinished

_WORKER = "from idinit_suite.experiments.launcher import work; work()"
_WARNING_S = 120  # before a job's time is over; enough for a checkpoint
_GRACE_S = 3600  # longer than a cluster's time between asking a job to stop and ending it
_POLL_S = 5.0


class LauncherConfig(BaseModel):
    """Where runs take place.

    Attributes:
        name: One of the three.
        jobs: Processes at once.
        hours: Slurm: longest time of a job.
        partition: Slurm: where, or None for its default.
        gpus: Slurm: of each job.
        cores: Slurm: of each job.
        memory_gb: Slurm: of each job, or None for its default.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["serial", "local", "slurm"]
    jobs: PositiveInt = 1
    hours: Annotated[float, Field(gt=0)] = 24
    partition: str | None = None
    gpus: Annotated[int, Field(ge=0)] = 0
    cores: PositiveInt = 1
    memory_gb: PositiveInt | None = None


def launch(arguments: Sequence[str], *, force: bool = False) -> list[str]:
    """Runs an experiment where its launcher says; see `idinit_suite.experiments.runner.run`.

    Args:
        arguments: The Hydra overrides of the sweep.
        force: Run again what is finished.

    Returns:
        One line for each run that is not finished.

    Raises:
        UsageError: If what was asked cannot be done.
        Preempted: If SIGTERM or SIGINT came; the same command goes on.
    """
    experiment = load(arguments)
    launcher = LauncherConfig(**experiment.launcher)
    if launcher.name == "serial":
        return run(experiment, force=force)
    serial = [argument for argument in arguments if not argument.lstrip("+").startswith("launcher")]
    with stop_signals() as stop:
        (_in_parallel if launcher.name == "local" else _on_slurm)(
            launcher, experiment, [*serial, "launcher=serial"], force, stop
        )
    console.print(update_results(experiment.info, run_folders(experiment), experiment.paths.results / experiment.info.name))
    return unfinished(experiment)


def work() -> None:
    """The main function of one process of several."""

    def sweep() -> None:
        force = "force=true" in sys.argv[1:]
        failures = run(load([word for word in sys.argv[1:] if word != "force=true"]), force=force, quiet=True)
        if failures:
            sys.exit("\n".join(failures))

    run_command(sweep)


def shares(jobs: int, cores: Sequence[int], gpus: int) -> list[tuple[list[int], int | None]]:
    """The cores and the GPU of each of some processes, as equal as can be; with more processes than cores they take turns.

    Returns:
        For each process its cores, and the number of its GPU or None where there is none.
    """
    taken = [list(cores[number::jobs]) or [cores[number % len(cores)]] for number in range(jobs)]
    return [(own, number % gpus if gpus else None) for number, own in enumerate(taken)]


def _in_parallel(
    launcher: LauncherConfig, experiment: Experiment, arguments: Sequence[str], force: bool, stop: threading.Event
) -> None:
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    words = [*arguments, *(["force=true"] if force else [])]
    console.print(f"{experiment.info.name}: {launcher.jobs} runs at once", markup=False)
    processes, relays = [], []
    for number, (cores, gpu) in enumerate(shares(launcher.jobs, available, torch.cuda.device_count())):
        environment = {**os.environ, "OMP_NUM_THREADS": str(len(cores))}
        if gpu is not None:
            visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
            environment["CUDA_VISIBLE_DEVICES"] = visible[gpu] if len(visible) > gpu and visible[gpu] else str(gpu)
        process = subprocess.Popen(
            [sys.executable, "-c", _WORKER, *words],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=_pinned(cores),
            start_new_session=True,  # Ctrl-C comes to them from here
        )
        processes.append(process)
        relays.append(threading.Thread(target=_relay, args=(process, number + 1), daemon=True))
        relays[-1].start()
    while any(process.poll() is None for process in processes):
        if stop.wait(0.2):
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait()
    for relay in relays:
        relay.join()
    if stop.is_set() or any(process.returncode == EXIT_PREEMPTED for process in processes):
        raise Preempted(f"{experiment.info.name} is not finished")


def _pinned(cores: Sequence[int]) -> Callable[[], None] | None:
    return (lambda: os.sched_setaffinity(0, cores)) if hasattr(os, "sched_setaffinity") else None


def _relay(process: subprocess.Popen[str], number: int) -> None:
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            console.print(f"{number}| {line.rstrip()}", markup=False, soft_wrap=True)


class SlurmWorker:
    """One task of the array.

    Attributes:
        arguments: The Hydra overrides of the sweep.
        force: Run again what is finished.
    """

    def __init__(self, arguments: Sequence[str], force: bool) -> None:
        self.arguments = list(arguments)
        self.force = force

    def __call__(self, number: int) -> list[str]:
        """Takes part in the sweep; returns the runs that failed."""
        try:
            return run(load(self.arguments), force=self.force, quiet=True)
        except Preempted as stop:
            print(f"stopped: {stop}", flush=True)
            time.sleep(_GRACE_S)  # Slurm queues again what it has to end itself; a job that leaves early counts as done
            sys.exit(EXIT_PREEMPTED)

    def checkpoint(self, number: int) -> submitit.helpers.DelayedSubmission:
        """What submitit queues when the job's time is nearly over: the same; the runs go on from their checkpoints."""
        return submitit.helpers.DelayedSubmission(SlurmWorker(self.arguments, force=False), number)


def _on_slurm(
    launcher: LauncherConfig, experiment: Experiment, arguments: Sequence[str], force: bool, stop: threading.Event
) -> None:
    folder = experiment.paths.runs / experiment.info.name / ".slurm"
    try:
        executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=1000)
    except RuntimeError as error:
        raise UsageError(f"launcher=slurm: {error}; choose launcher=local, or run this where sbatch is") from None
    optional = {"partition": launcher.partition, "mem": launcher.memory_gb and f"{launcher.memory_gb}GB"}
    executor.update_parameters(
        job_name=experiment.info.name,
        time=max(1, round(60 * launcher.hours)),
        cpus_per_task=launcher.cores,
        signal_delay_s=_WARNING_S,
        array_parallelism=launcher.jobs,
        additional_parameters={"requeue": True},
        **({"gpus_per_node": launcher.gpus} if launcher.gpus else {}),
        **{key: value for key, value in optional.items() if value is not None},
    )
    jobs = executor.map_array(SlurmWorker([*arguments, "wandb.mode=disabled"], force), list(range(launcher.jobs)))
    array = jobs[0].job_id.split("_")[0]
    console.print(
        f"{experiment.info.name}: Slurm's array {array}, {launcher.jobs} jobs; their output is in {folder}", markup=False
    )
    while subprocess.run(["squeue", "--noheader", "--jobs", array], capture_output=True, text=True, check=False).stdout.strip():
        if stop.wait(_POLL_S):
            raise Preempted(f"the jobs go on without this command; `scancel {array}` ends them")
