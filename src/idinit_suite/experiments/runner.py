"""Runs what is missing of an experiment, and brings its results up to date."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from idinit.errors import UsageError

from ..archive.runs import archived, merge
from ..archive.variants import counted
from ..config import RunConfig
from ..errors import Preempted, RunLocked
from ..report.update import update_results
from ..training.compile_cache import CompiledNetworks
from ..training.preemption import stop_signals
from ..training.progress import SweepProgress, console
from ..training.run_folder import FINISHED, RunFolder
from ..training.trainer import train
from .cost import Costs, announce
from .grid import Experiment
from .tuning import pick

log = logging.getLogger(__name__)


POLL_S = 2.0  # how often a sweep that has nothing else to do looks whether a run of another one has ended


def run(experiment: Experiment, *, force: bool = False, quiet: bool = False) -> list[str]:
    """Runs an experiment seed by seed across its arms; finished runs are skipped, unfinished ones go on.

    Several processes may do so at the same time: a run that another one trains is passed over and looked at again later,
    until it has ended.

    Args:
        experiment: What to run.
        force: Run again what was finished before this call.
        quiet: Leave out the tables at the end, and the figures and the page: another process makes them.

    Returns:
        One line for each run that failed twice, and each arm that waits for one.

    Raises:
        UsageError: If what was asked cannot be done.
        Preempted: If SIGTERM or SIGINT came; the same command goes on.
    """
    with stop_signals() as stop:
        return _Sweep(experiment, force, quiet, stop).run()


def run_folders(experiment: Experiment) -> list[Path]:
    """The folders that are there of the runs of an experiment."""
    return [config.folder for config in _expected(experiment) if config.folder.exists()]


def unfinished(experiment: Experiment) -> list[str]:
    """Names of the runs of an experiment that are not in its archive."""
    done = archived(experiment.paths.results / experiment.info.name)
    return [config.name for config in _expected(experiment) if config.hash not in done]


def _expected(experiment: Experiment) -> list[RunConfig]:
    """All runs of an experiment, as far as is known before its search is finished."""
    searches = experiment.tuning_runs()
    return [*searches, *experiment.main_runs(pick(experiment, searches, experiment.paths.results / experiment.info.name))]


class _Sweep:
    """One call of `run`."""

    def __init__(self, experiment: Experiment, force: bool, quiet: bool, stop: threading.Event) -> None:
        self.experiment = experiment
        self.quiet = quiet
        self.results = experiment.paths.results / experiment.info.name
        self.stop = stop
        self.started = time.time()
        self.forced = force
        self.compiled = CompiledNetworks()
        self.costs = Costs()

    def run(self) -> list[str]:
        experiment = self.experiment
        searches = experiment.tuning_runs()
        expected = _expected(experiment)
        missing = self._missing(expected)
        announce(experiment, expected, missing, self.costs)
        if not missing:
            self._show()
            return []
        self.progress = SweepProgress(experiment.info.name, self.costs.total(missing))
        try:
            with self.progress.shown():
                failures = self._train(searches)
                picked = pick(experiment, searches, self.results)
                waiting = [arm for arm in experiment.grid.arms if searches and arm not in picked]
                failures += [f"{arm}: not trained, as its search is not finished" for arm in waiting]
                main = [config for config in experiment.main_runs(picked) if config.arm not in waiting]
                failures += self._train(main)
        finally:
            self._show()
        return failures

    def _show(self) -> None:
        if not self.quiet:
            console.print(update_results(self.experiment.info, run_folders(self.experiment), self.results))

    def _missing(self, runs: Sequence[RunConfig]) -> list[RunConfig]:
        done = set() if self.forced else archived(self.results)
        return [config for config in runs if config.hash not in done or _begun(config)]

    def _train(self, runs: Sequence[RunConfig]) -> list[str]:
        """Trains what is missing of some runs, and waits for those that others train."""
        failures: list[str] = []
        missing = {config.hash for config in self._missing(runs)}
        queue = [(number, config) for number, config in enumerate(runs, start=1) if config.hash in missing]
        while queue:
            elsewhere = []
            for place, (number, config) in enumerate(queue):
                if self.stop.is_set():
                    left = counted(len(queue) - place, "run")
                    raise Preempted(f"{left} of {self.experiment.info.name} to go")
                try:
                    failure = self._train_one(config, f"{number}/{len(runs)}")
                    failures += [failure] if failure else []
                except RunLocked:
                    elsewhere.append((number, config))
            if len(elsewhere) == len(queue):
                self.stop.wait(POLL_S)
            queue = elsewhere
        return failures

    def _train_one(self, config: RunConfig, count: str) -> str | None:
        """Trains a run, or merges what another process has made of it; returns what went wrong twice."""
        with RunFolder(config.folder) as folder:  # whoever else is at it has priority
            if self.forced and not _finished_since(folder, self.started):
                empty_held(folder)
            before = folder.status() or {}
        if before.get("state") not in FINISHED or self.forced:
            self.progress.begin(self._describe(config), count)
        begun = time.monotonic()
        failure = _train_twice(config, self.compiled)
        if failure is None:
            merge([config.folder], self.results)
        whole = not before.get("step") and (RunFolder(config.folder).status() or {}).get("state") == "done"
        self.progress.end(self.costs.of(config), time.monotonic() - begun if whole else None)
        return failure

    def _describe(self, config: RunConfig) -> str:
        keys = dict.fromkeys(["optim.lr", *self.experiment.sweep])
        settings = [f"{key.rpartition('.')[2]} {_option(config, key)}" for key in keys]
        return ", ".join([config.arm, *(["search"] if config.phase == "tune" else []), *settings, f"seed {config.seed}"])


def _option(config: RunConfig, key: str) -> str:
    value: Any = config.model_dump()
    for name in key.split("."):
        value = value[name]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _finished_since(folder: RunFolder, moment: float) -> bool:
    """Whether a run was finished after a moment, by another sweep that was asked to run it again."""
    status = folder.path / "status.json"
    return (folder.status() or {}).get("state") in FINISHED and status.stat().st_mtime > moment


def _begun(config: RunConfig) -> bool:
    """Whether a run that is archived was begun again here (``force=true``) and not finished."""
    status = RunFolder(config.folder).status()
    return status is not None and status["state"] not in FINISHED


def empty(folder: Path) -> None:
    """Deletes what an earlier run has left, unless another process is training it."""
    with RunFolder(folder) as held:
        empty_held(held)


def empty_held(folder: RunFolder) -> None:
    """Deletes what an earlier run has left in a folder that is held, but for the lock."""
    for path in folder.path.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif not path.name.startswith("."):
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
