"""Computes what is missing of a study, into an ordinary run folder: a step of the run is a cell of the study."""

from __future__ import annotations

import logging
import time
from typing import Any

from ..config.experiment import ExperimentInfo
from ..errors import Preempted
from ..report.update import update_results
from ..training.environment import describe
from ..training.preemption import stop_signals
from ..training.progress import RunProgress, console
from ..training.run_folder import FINISHED, RunFolder
from .archive import archived_studies
from .config import StudyConfig
from .page import STUDY

log = logging.getLogger(__name__)


def run_study(info: ExperimentInfo, config: StudyConfig, *, force: bool = False) -> None:
    """Runs a study, or what is left of it, and brings its results up to date; one that is archived is not run again.

    Args:
        info: The head of the experiment's page.
        config: The run.
        force: Run again what is finished.

    Raises:
        UsageError: If the request is invalid.
        Preempted: If SIGTERM or SIGINT came; the same command goes on.
    """
    results = config.paths.results / config.experiment
    folder = RunFolder(config.folder)
    if force:
        with folder:
            folder.clear()
    status = folder.status()
    if status is None and not force and config.hash in archived_studies(results):
        console.print(f"{config.experiment}: budget {config.budget}: archived, nothing to do")
    elif status is None or status["state"] not in FINISHED:
        compute(config)
    console.print(update_results(info, [config.folder] if folder.status() else [], results, STUDY))


def compute(config: StudyConfig) -> dict[str, Any]:
    """Computes the cells of a study that its run folder lacks.

    Returns:
        The content of ``status.json``.

    Raises:
        RunLocked: If another process computes it.
        Preempted: If SIGTERM or SIGINT came; finished cells are kept.
    """
    config.impl.set_num_threads()
    with RunFolder(config.folder) as folder, stop_signals() as stop_requested:
        before = folder.status() or {}
        done, seconds = before.get("step", 0), before.get("time_s", 0.0)
        folder.write_config(config.to_yaml())
        folder.write_environment(describe(config.impl.torch_device()))
        if (known := max((row["step"] for row in folder.rewind(done)), default=0)) < done:
            log.warning("metrics.jsonl of run %s lacks rows or is damaged: computing them again", config.name)
            done = max(0, known - 1)  # the last cell may lack some
            folder.rewind(done)
        cells = list(config.cells())
        started = time.monotonic()

        def write(state: str) -> dict[str, Any]:
            status = {
                "state": state,
                "hash": config.hash,
                "step": done,
                "steps": len(cells),
                "time_s": seconds + time.monotonic() - started,
            }
            folder.write_status(status)
            return status

        write("running")
        with RunProgress(f"{config.experiment}, {config.budget} budget", done, len(cells)) as bar:
            for number, cell in enumerate(cells[done:], start=done + 1):
                for row in cell.measure():
                    folder.append({"step": number, "cell": cell.name, "table": row.table, "values": row.values})
                folder.sync()
                done = number
                bar.say(done, cell.name)
                if stop_requested.is_set() and done < len(cells):
                    write("preempted")
                    raise Preempted(f"{config.name} is saved at cell {done} of {len(cells)}")
                write("running")
        return write("done")
