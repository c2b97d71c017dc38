"""One run in several processes, of this machine or of several nodes, started by torch's elastic launcher as torchrun does."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # its module does not list it
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
from .nodes import Announcement, Nodes
from .processes import cores

_PROCESS = "from idinit_suite.experiments.together import work; work()"
_SHUTDOWN_S = 300  # for what processes do before they see that they are to stop, an evaluation too
_GRACE_S = 10.0  # for the process that has broken an exchange to end before those that notice


def train_together(config: RunConfig, processes: int, nodes: Nodes | None = None) -> None:
    """Trains a run, or what is left of it, in several processes, each with its own GPU if there are any.

    Args:
        config: The run.
        processes: How many, on all nodes together.
        nodes: The nodes that share them, of which this is the first; None for this machine alone.

    Raises:
        UsageError: If the request is invalid.
        Preempted: If SIGTERM or SIGINT came; the run is saved and continues when it is started again.
        LostProcess: If one of them has ended before the run did. The others are ended too.
    """
    count, address = (nodes.count, nodes.address) if nodes else (1, "localhost")
    here = processes // count
    gpus = torch.cuda.device_count()
    if config.impl.torch_device().type == "cuda":
        if here > gpus:
            raise UsageError(f"launcher.processes={here}: each needs a GPU of its own, and there are {gpus} here")
        torch.cuda.empty_cache()  # what the forecast's steps have held of the first one
    # Where the processes meet: one for each run, as it keeps what they say to each other. The launcher below shares it.
    store = TCPStore(address, 0, is_master=True, wait_for_workers=False, multi_tenant=True)
    if nodes:
        nodes.announce(Announcement(config.model_dump_json(), here, store.port))
    _take_part(config, here, count, 0, f"{address}:{store.port}")


def follow(nodes: Nodes) -> None:
    """Trains, on each node but the first, what is trained there, until the sweep there has ended.

    Raises:
        Preempted: If SIGTERM or SIGINT came.
    """
    with stop_signals() as stop:
        for run in nodes.announced(stop):
            config = RunConfig.model_validate_json(run.config)
            try:
                _take_part(config, run.processes, nodes.count, nodes.rank, f"{nodes.address}:{run.port}")
            except (UsageError, LostProcess) as error:  # the sweep counts the run as failed
                print(error, flush=True)


def _take_part(config: RunConfig, processes: int, nodes: int, rank: int, endpoint: str) -> None:
    """Starts one node's processes of a run, and waits for their end; see `train_together`."""
    launch = LaunchConfig(
        min_nodes=nodes,
        max_nodes=nodes,
        nproc_per_node=processes,
        run_id=config.hash,
        rdzv_backend="static",  # the run's first process, which writes its folder and tells what went wrong, is the sweep's
        rdzv_endpoint=endpoint,
        rdzv_configs={"rank": rank},
        max_restarts=0,  # the sweep's own command goes on
        shutdown_timeout=_SHUTDOWN_S,
        signals_to_handle="SIGTERM,SIGINT",
    )
    with stop_signals() as stop, _without_its_log():  # the launcher puts handlers of its own in place of these
        try:
            elastic_launch(launch, sys.executable)("-c", _PROCESS, config.model_dump_json())
        except SignalException:
            saved = (RunFolder(config.folder).status() or {}).get("state") == "preempted"
            raise Preempted(f"{config.name} {'is saved' if saved else 'goes on from its last checkpoint'}") from None
        except ChildFailedError as error:
            raise _error_of(error, config) from None
    if stop.is_set():  # before the launcher's handlers were there
        raise Preempted(f"{config.name} is finished, no other run was begun")


def work() -> None:
    """The main function of one of the processes."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    prepare_output()
    if hasattr(signal, "SIGUSR2"):  # Slurm's, when a job's time is nearly over: the sweep queues it again, and SIGTERM follows
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    config, world_size = RunConfig.model_validate_json(sys.argv[1]), int(os.environ["WORLD_SIZE"])
    torch.set_num_threads(max(1, len(cores()) // int(os.environ["LOCAL_WORLD_SIZE"])))  # unless impl.threads says otherwise
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
            time.sleep(_GRACE_S)  # the launcher ends all with the first that has ended: let it be the one with the reason
            sys.exit(EXIT_FAILURE)


@contextmanager
def _without_its_log() -> Iterator[None]:
    """Leaves out the launcher's own words on processes that end: what matters of it is raised."""
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _error_of(error: ChildFailedError, config: RunConfig) -> BaseException:
    """What ended the processes of a run, as one process alone would have raised it."""
    failures = dict(sorted(error.failures.items(), key=lambda item: item[1].timestamp))
    reasons = {rank: _reason_of(failure) for rank, failure in failures.items()}
    for rank, failure in failures.items():
        if failure.exitcode == EXIT_PREEMPTED:
            return Preempted(f"{config.name} is saved")
        if failure.exitcode == EXIT_USAGE:
            kind, _, text = reasons[rank].partition(": ")
            return RunLocked(text) if kind == RunLocked.__name__ else UsageError(text)
    # Those that are left when one is lost say so, or are ended by the launcher.
    causes = [rank for rank, reason in reasons.items() if not reason.startswith(LostProcess.__name__)] or list(reasons)
    rank = min(causes, key=lambda rank: failures[rank].signal_name() == "SIGTERM")
    if reasons[rank].startswith(LostProcess.__name__):  # on another node
        return LostProcess(reasons[rank].partition(": ")[2])
    lost = LostProcess(
        f"process {rank} of run {config.name} has ended ({reasons[rank]}): run the same command again to go on from the last "
        "checkpoint"
    )
    _write_failure(config, str(lost))
    return lost


def _reason_of(failure: ProcessFailure) -> str:
    """What a process has raised, as ``Name: text`` in one line, or the name of the signal that ended it."""
    if failure.exitcode < 0:
        return failure.signal_name()
    recorded = failure.error_file_data["message"]
    return " ".join(recorded["message"].split()) if isinstance(recorded, dict) else f"exit code {failure.exitcode}"


def _write_failure(config: RunConfig, error: str) -> None:
    """Writes into a run's status how it ended, where the process that would have done so was killed."""
    with suppress(RunLocked), RunFolder(config.folder) as folder:
        status = folder.status()
        if status is not None and status["state"] == "running":
            folder.write_status({**status, "state": "failed", "error": error})
