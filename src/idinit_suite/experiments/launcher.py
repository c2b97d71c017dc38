"""Where the runs of a sweep take place: in this process, in several on this machine, or in an array of Slurm's.

Each process is a sweep like any other. They share the runs by the locks on the run folders, so nothing is handed out. A run
that several processes train together is started by one of these sweeps, see `idinit_suite.experiments.together`.
"""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stderr

import submitit
import torch

from idinit.errors import UsageError

from ..cli import run_command
from ..config import key_of
from ..errors import EXIT_PREEMPTED, EXIT_USAGE, Preempted
from ..training.preemption import stop_signals
from ..training.progress import console
from . import processes
from .concurrency import choose_jobs
from .grid import Experiment, load_experiment
from .nodes import nodes_of_job
from .runner import missing_runs, run, show_results, unfinished
from .together import follow

_WORKER = "from idinit_suite.experiments.launcher import work; work()"
_WARNING_S = 120  # before a job's time is over; enough for a checkpoint
_GRACE_S = 3600  # longer than a cluster's time between asking a job to stop and ending it
_POLL_S = 5.0
_NEVER = {"BadConstraints", "PartitionConfig", "PartitionTimeLimit"}  # Slurm's reasons for jobs that no node here can take


def launch(arguments: Sequence[str], *, force: bool = False) -> list[str]:
    """Runs an experiment where its launcher says; see `idinit_suite.experiments.runner.run`.

    Args:
        arguments: The Hydra overrides of the sweep.
        force: Run again what is finished.

    Returns:
        One line for each run that is not finished.

    Raises:
        UsageError: If the request is invalid. If that is so of some variants only, the others are still trained.
        Preempted: If SIGTERM or SIGINT came; the same command goes on.
    """
    experiment = load_experiment(arguments)
    launcher = experiment.launcher
    forced = time.time() if force else None
    jobs = _jobs(experiment, forced)
    if launcher.name == "serial" or (launcher.name == "local" and jobs == 1):
        return run(experiment, forced=forced)
    words = [word for word in arguments if not key_of(word).startswith("launcher")]
    serial = [*words, "launcher=serial", f"launcher.processes={launcher.world_size}"]
    where = _on_this_machine if launcher.name == "local" else _on_slurm
    with stop_signals() as stop:
        refused = where(jobs, experiment, serial, forced, stop)
    show_results(experiment)
    if refused:
        raise UsageError(f"{experiment.info.name} has variants that could not be trained: {refused}")
    return unfinished(experiment, forced)


def _jobs(experiment: Experiment, forced: float | None) -> int:
    if experiment.launcher.jobs != "auto":
        return experiment.launcher.jobs
    missing = missing_runs(experiment, forced)
    return choose_jobs(missing) if missing else 1


def work() -> None:
    """The main function of one of several processes; arguments: how many, when the sweep was forced or nothing, overrides."""

    def sweep() -> None:
        sweeps, forced, *arguments = sys.argv[1:]
        failures = run(load_experiment(arguments), forced=float(forced) if forced else None, quiet=True, sweeps=int(sweeps))
        if failures:
            sys.exit("\n".join(failures))

    run_command(sweep)


def _on_this_machine(
    jobs: int, experiment: Experiment, arguments: Sequence[str], forced: float | None, stop: threading.Event
) -> str:
    """Trains in several processes; returns where to read what cannot be trained as asked, or nothing."""
    words = [str(jobs), "" if forced is None else repr(forced), *arguments]
    workers, relays = [], []
    with ExitStack() as started:  # what has started does not go on without the others
        for number, (cores, gpu) in enumerate(processes.shares(jobs, processes.cores(), torch.cuda.device_count())):
            worker = processes.start(_WORKER, words, cores, gpu, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            started.callback(worker.terminate)
            workers.append(worker)
            relays.append(threading.Thread(target=_relay, args=(worker, number + 1), daemon=True))
        for relay in relays:
            relay.start()
        while any(worker.poll() is None for worker in workers):
            if stop.wait(0.2):
                for worker in workers:
                    worker.terminate()
                for worker in workers:
                    worker.wait()
        for relay in relays:
            relay.join()
    if stop.is_set() or any(worker.returncode == EXIT_PREEMPTED for worker in workers):
        raise Preempted(f"{experiment.info.name} is not finished")
    return "see the lines above" if any(worker.returncode == EXIT_USAGE for worker in workers) else ""


def _relay(process: subprocess.Popen[str], number: int) -> None:
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            console.print(f"{number}| {line.rstrip()}", markup=False, soft_wrap=True)


class SlurmWorker:
    """One job of the array: the sweep on its first node, which the other nodes follow.

    Attributes:
        arguments: The Hydra overrides of the sweep.
        forced: When it was asked that all be trained again; None where what is finished stays.
        jobs: Of the array.
    """

    def __init__(self, arguments: Sequence[str], forced: float | None, jobs: int) -> None:
        self.arguments = list(arguments)
        self.forced = forced
        self.jobs = jobs

    def __call__(self, number: int) -> str:
        """Takes part in the sweep; returns what cannot be trained as asked, or nothing."""
        try:
            with nodes_of_job() as nodes:
                if nodes and nodes.rank:
                    follow(nodes)
                else:
                    run(load_experiment(self.arguments), forced=self.forced, quiet=True, nodes=nodes, sweeps=self.jobs)
        except UsageError as error:
            print(error, flush=True)
            return str(error)
        except Preempted as stop:
            print(f"stopped: {stop}", flush=True)
            time.sleep(_GRACE_S)  # Slurm queues again what it has to end itself; a job that leaves early counts as done
            sys.exit(EXIT_PREEMPTED)
        return ""

    def checkpoint(self, number: int) -> submitit.helpers.DelayedSubmission:
        """What submitit queues when the job's time is nearly over: the same; the runs go on from their checkpoints."""
        return submitit.helpers.DelayedSubmission(SlurmWorker(self.arguments, self.forced, self.jobs), number)


def _on_slurm(jobs: int, experiment: Experiment, arguments: Sequence[str], forced: float | None, stop: threading.Event) -> str:
    """Trains in an array of jobs; returns what cannot be trained as asked, or nothing."""
    launcher = experiment.launcher
    folder = experiment.paths.runs / experiment.info.name / ".slurm"
    try:
        executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=1000)
    except RuntimeError as error:
        raise UsageError(f"launcher=slurm: {error}; choose launcher=local, or run this where sbatch is") from None
    optional = {"partition": launcher.partition, "mem": launcher.memory_gb and f"{launcher.memory_gb}GB"}
    executor.update_parameters(
        job_name=experiment.info.name,
        time=max(1, round(60 * launcher.hours)),
        nodes=launcher.nodes,
        ntasks_per_node=1,
        cpus_per_task=launcher.cores,
        srun_args=[f"--cpus-per-task={launcher.cores}", "--kill-on-bad-exit"],  # which srun takes from nowhere else
        signal_delay_s=_WARNING_S,
        array_parallelism=jobs,
        additional_parameters={"requeue": True},
        **({"gpus_per_node": launcher.gpus} if launcher.gpus else {}),
        **{key: value for key, value in optional.items() if value is not None},
    )
    try:
        with redirect_stderr(io.StringIO()):  # submitit prints sbatch's words besides
            submitted = executor.map_array(SlurmWorker(arguments, forced, jobs), list(range(jobs)))
    except submitit.core.utils.FailedJobError as error:
        reason = "; ".join(line.removeprefix("sbatch: error: ") for line in str(error).splitlines())
        raise UsageError(f"launcher=slurm: sbatch refuses the jobs: {reason}") from None
    array = submitted[0].job_id.split("_")[0]
    console.print(f"{experiment.info.name}: Slurm's array {array}, {jobs} jobs; their output is in {folder}", markup=False)
    while reasons := _squeue(array):
        if never := reasons & _NEVER:
            subprocess.run(["scancel", array], check=False)
            raise UsageError(
                f"launcher=slurm: Slurm says {', '.join(never)}, so the jobs would wait forever: ask for fewer nodes, cores or "
                "GPUs, less memory or time, or for another partition"
            )
        if stop.wait(_POLL_S):
            raise Preempted(f"the jobs go on without this command; `scancel {array}` ends them")
    sweeps = [job.task(0) for job in submitted]
    ended = [sweep for sweep in sweeps if sweep.paths.result_pickle.exists() and sweep.exception() is None]
    return "; ".join(dict.fromkeys(filter(None, (sweep.result() for sweep in ended))))


def _squeue(array: str) -> set[str]:
    """Why the jobs of an array wait (None for those that do not, or if Slurm does not answer); empty if none is left."""
    command = ["squeue", "--noheader", "--format=%r", "--jobs", array]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode and "Invalid job id" not in answer.stderr:
        return {"None"}
    return set(answer.stdout.splitlines())
