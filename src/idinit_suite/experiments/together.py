"""One run in several processes of this machine, started by torch's elastic launcher as torchrun does."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure, record
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from idinit.errors import UsageError
from idinit.terminal import prepare_output

from ..cli import clear_end
from ..config import RunConfig
from ..errors import EXIT_FAILURE, EXIT_PREEMPTED, EXIT_USAGE, LostProcess, Preempted, RunLocked
from ..training.distributed import lost_process
from ..training.preemption import stop_signals
from ..training.run_folder import RunFolder
from ..training.trainer import train
from .processes import cores

_PROCESS = "from idinit_suite.experiments.together import work; work()"


def train_together(config: RunConfig, processes: int) -> None:
    """Trains a run, or what is left of it, in several processes, each with its own GPU if there are any.

    Args:
        config: The run.
        processes: How many.

    Raises:
        UsageError: If what was asked cannot be done.
        Preempted: If SIGTERM or SIGINT came; the run is saved and continues when it is started again.
        LostProcess: If one of them has ended before the run did. The others are ended too.
    """
    gpus = torch.cuda.device_count()
    if config.impl.torch_device().type == "cuda":
        if processes > gpus:
            raise UsageError(f"launcher.processes={processes}: each needs a GPU of its own, and there are {gpus} here")
        torch.cuda.empty_cache()  # what the forecast's steps have held of the first one
    launch = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=config.hash,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,  # the sweep's own command goes on
        signals_to_handle="SIGTERM,SIGINT",
    )
    with stop_signals() as stop, _without_its_log():  # the launcher puts handlers of its own in place of these
        try:
            elastic_launch(launch, sys.executable)("-c", _PROCESS, config.model_dump_json())
        except SignalException:
            raise Preempted(f"{config.name} is saved") from None
        except ChildFailedError as error:
            raise _told(error, config) from None
    if stop.is_set():  # before the launcher's handlers were there
        raise Preempted(f"{config.name} is finished")


def work() -> None:
    """The main function of one of the processes."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    prepare_output()
    config, world_size = RunConfig.model_validate_json(sys.argv[1]), int(os.environ["WORLD_SIZE"])
    torch.set_num_threads(max(1, len(cores()) // world_size))  # unless impl.threads says otherwise
    with clear_end():
        try:
            record(train)(config)  # what is raised goes into a file, from which the launcher takes it
        except Preempted:
            sys.exit(EXIT_PREEMPTED)
        except UsageError:
            sys.exit(EXIT_USAGE)
        except RuntimeError as error:
            if not isinstance(error, LostProcess) and lost_process(error, config.name, world_size) is None:
                raise
            sys.exit(EXIT_FAILURE)  # the one that was lost is told of


@contextmanager
def _without_its_log() -> Iterator[None]:
    """Leaves out the launcher's own words on processes that end: what matters of it is raised."""
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _told(error: ChildFailedError, config: RunConfig) -> BaseException:
    """What ended the processes of a run, as one process alone would have raised it."""
    failures = dict(sorted(error.failures.items(), key=lambda item: item[1].timestamp))
    told = {rank: _words(failure) for rank, failure in failures.items()}
    for rank, failure in failures.items():
        if failure.exitcode == EXIT_PREEMPTED:
            return Preempted(f"{config.name} is saved")
        if failure.exitcode == EXIT_USAGE:
            kind, _, text = told[rank].partition(": ")
            return RunLocked(text) if kind == RunLocked.__name__ else UsageError(text)
    # Those that are left when one is lost say so, or are ended by the launcher.
    causes = [rank for rank, words in told.items() if not words.startswith(LostProcess.__name__)] or list(told)
    rank = min(causes, key=lambda rank: failures[rank].signal_name() == "SIGTERM")
    lost = LostProcess(
        f"process {rank} of run {config.name} has ended ({told[rank]}): run the same command again to go on from the last "
        "checkpoint"
    )
    _note(config, str(lost))
    return lost


def _words(failure: ProcessFailure) -> str:
    """What a process has raised, as ``Name: text`` in one line, or the name of the signal that ended it."""
    if failure.exitcode < 0:
        return failure.signal_name()
    recorded = failure.error_file_data["message"]
    return " ".join(recorded["message"].split()) if isinstance(recorded, dict) else f"exit code {failure.exitcode}"


def _note(config: RunConfig, error: str) -> None:
    """Writes into a run's status how it ended, where the process that would have done so was killed."""
    with suppress(RunLocked), RunFolder(config.folder) as folder:
        status = folder.status()
        if status is not None and status["state"] == "running":
            folder.write_status({**status, "state": "failed", "error": error})
