"""Runs what is missing of an experiment, and brings its results up to date."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from ..config import RunConfig
from ..errors import RunLocked, UsageError
from ..report.archive import archived, merge
from ..report.results import update_results
from ..training.compiled import CompiledNetworks
from ..training.loop import train
from ..training.progress import console
from ..training.run_folder import FINISHED, RunFolder
from .cost import announce
from .grid import Experiment
from .search import pick

log = logging.getLogger(__name__)


def run(experiment: Experiment, *, force: bool = False) -> list[str]:
    """Runs an experiment seed by seed across its arms; finished runs are skipped, unfinished ones go on.

    Args:
        experiment: What to run.
        force: Run again what is finished.

    Returns:
        One line for each run that failed twice or that another process is training, and each arm that waits for one.

    Raises:
        UsageError: If what was asked cannot be done.
        Preempted: If SIGTERM or SIGINT came; the same command goes on.
    """
    searches = experiment.tuning_runs()
    results = experiment.paths.results / experiment.info.name
    expected = [*searches, *experiment.main_runs(pick(experiment, searches, results))]
    done = set() if force else archived(results)
    announce(experiment, expected, [c for c in expected if c.hash not in done])
    compiled = CompiledNetworks()
    failures = _train_missing(searches, results, compiled, force)
    picked = pick(experiment, searches, results)
    waiting = [arm for arm in experiment.grid.arms if searches and arm not in picked]
    failures += [f"{arm}: not trained, as its search is not finished" for arm in waiting]
    main = [config for config in experiment.main_runs(picked) if config.arm not in waiting]
    try:
        failures += _train_missing(main, results, compiled, force)
    finally:
        folders = [config.folder for config in [*searches, *main] if config.folder.exists()]
        console.print(update_results(experiment.info, folders, results))
    return failures


def _train_missing(runs: Sequence[RunConfig], results: Path, compiled: CompiledNetworks, force: bool) -> list[str]:
    failures = []
    done = set() if force else archived(results)
    for number, config in enumerate(runs, start=1):
        if config.hash in done and not _begun(config):
            continue
        what = f"{config.arm}, {config.phase}, lr {config.optim['lr']:g}, seed {config.seed}"
        console.print(f"[{number}/{len(runs)}] {what}", markup=False)
        try:
            if force:
                _empty(config.folder)
            failure = _train_twice(config, compiled)
        except RunLocked as locked:
            failure = str(locked)
        if failure is None:
            done |= merge([config.folder], results)
        else:
            failures.append(failure)
    return failures


def _begun(config: RunConfig) -> bool:
    """Whether a run that is archived was begun again here (``force=true``) and not finished."""
    status = RunFolder(config.folder).status()
    return status is not None and status["state"] not in FINISHED


def _empty(folder: Path) -> None:
    """Deletes what an earlier run has left, unless another process is training it."""
    with RunFolder(folder):
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != ".lock":
                path.unlink()


def _train_twice(config: RunConfig, compiled: CompiledNetworks) -> str | None:
    """Trains a run, once more if it fails; returns what went wrong the second time."""
    problem = ""
    for _ in range(2):
        try:
            train(config, compiled)
            return None
        except (UsageError, OSError):
            raise  # the next run would meet it too
        except Exception as error:
            log.exception("run %s failed", config.name)
            problem = f"{config.name}: {type(error).__name__}: {error}"
    return problem
