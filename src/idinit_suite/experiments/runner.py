"""Runs what is missing of an experiment, and brings its results up to date."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence, Set
from typing import Any

from idinit.errors import UsageError

from ..archive.forecasts import keep
from ..archive.runs import archived, merge
from ..config import RunConfig
from ..errors import LostProcess, Preempted, RunLocked, not_trained
from ..report.update import update_results
from ..training.compile_cache import CompiledNetworks
from ..training.preemption import stop_signals
from ..training.progress import SweepProgress, console
from ..training.run_folder import FINISHED, RunFolder
from ..training.trainer import train
from ..words import pluralize
from .cost import Costs, announce, forecast
from .grid import Experiment, GridPoint
from .nodes import Nodes
from .other_data import DataCheck
from .together import train_together
from .tuning import Plan, plan_runs, read_scores

log = logging.getLogger(__name__)


POLL_S = 2.0  # how often a sweep that has nothing else to do looks whether a run of another one has ended


def run(
    experiment: Experiment,
    *,
    forced: float | None = None,
    quiet: bool = False,
    nodes: Nodes | None = None,
    sweeps: int = 1,
) -> list[str]:
    """Runs an experiment: its search, then its main runs seed by seed across variants; what is finished is skipped.

    Several processes may do so at the same time: a run that another one trains is passed over and looked at again later,
    until it has ended.

    Args:
        experiment: What to run.
        forced: When it was asked, in seconds since the epoch, that all be trained again, what was done before that moment
            too; None where what is finished stays. A job that is queued again goes on with what it has done since.
        quiet: Leave out the tables at the end, and the figures and the page: another process makes them.
        nodes: Those that share the processes of each run, of which this is the first; None for this machine alone.
        sweeps: How many calls in as many processes share the runs; the time left depends on it.

    Returns:
        One line for each run that failed, and each variant that waits for one.

    Raises:
        UsageError: If the request is invalid. If that is so of some variants only, the others are still trained.
        Preempted: If SIGTERM or SIGINT came; the same command goes on.
    """
    with stop_signals() as stop:
        return _Sweep(experiment, forced, quiet, nodes, sweeps, stop).run()


def show_results(experiment: Experiment) -> None:
    """Brings the results of an experiment up to date with the run folders that are there, and prints them."""
    folders = [config.folder for config in _plan(experiment).runs if config.folder.exists()]
    console.print(update_results(experiment.info, folders, experiment.results))


def outlook(experiment: Experiment) -> tuple[Plan, list[RunConfig], dict[str, str]]:
    """What a sweep would begin with: its plan, the runs that are not finished, and those finished on other data -> why."""
    plan = _plan(experiment)
    missing = _to_train(plan, archived(experiment.results))
    return plan, missing, DataCheck(experiment.results).differences(plan.runs, missing)


def missing_runs(experiment: Experiment, forced: float | None = None) -> list[RunConfig]:
    """The runs of an experiment that are known to be needed and are not finished, or were not since a moment."""
    done = archived(experiment.results)
    return [
        config
        for config in _plan(experiment).runs
        if config.hash not in done
        or _was_begun_again(config)
        or (forced is not None and not _trained_since(RunFolder(config.folder), forced))
    ]


def unfinished(experiment: Experiment, forced: float | None = None) -> list[str]:
    """A line for each run of an experiment that is missing, and each variant that waits for one; see `missing_runs`."""
    return [*(config.name for config in missing_runs(experiment, forced)), *map(_waiting_notice, _plan(experiment).waiting)]


def _plan(experiment: Experiment) -> Plan:
    return plan_runs(experiment, read_scores(experiment.results))


def _to_train(plan: Plan, done: Set[str]) -> list[RunConfig]:
    """The runs of a plan that are not finished, in their order."""
    return [*(config for config in plan.runs if config.hash not in done or _was_begun_again(config)), *plan.later]


def _waiting_notice(point: GridPoint) -> str:
    return f"{point}: not trained, as its search is not finished"


class _Sweep:
    """One call of `run`."""

    def __init__(
        self,
        experiment: Experiment,
        forced: float | None,
        quiet: bool,
        nodes: Nodes | None,
        sweeps: int,
        stop: threading.Event,
    ) -> None:
        self.experiment = experiment
        self.quiet = quiet
        self.nodes = nodes
        self.results = experiment.results
        self.stop = stop
        self.forced = forced
        self.ended: set[str] = set()  # hashes of the runs that this call has finished or found finished since it began
        self.failed: dict[str, str] = {}  # hash of a run -> what went wrong
        self.refused: dict[GridPoint, str] = {}  # why it cannot be trained as asked
        self.compiled = CompiledNetworks()
        self.processes = experiment.launcher.processes
        self.costs = Costs(self.processes, sweeps)
        self.data = DataCheck(experiment.results)
        self.progress = SweepProgress(experiment.info.name, bar=self.processes == 1)

    def run(self) -> list[str]:
        plan = self._plan()
        self._refuse_other_data(plan)
        missing = self._missing(plan)
        announce(self.experiment, plan, missing, self.costs)
        if not missing:
            self._show()
            return self._failures()
        keep(forecast(self.experiment, missing, self.costs, archived(self.results)), self.results)
        try:
            with self.progress.shown():
                while self._train_next():
                    pass
        finally:
            self._show()
        return self._failures()

    def _show(self) -> None:
        if not self.quiet:
            show_results(self.experiment)

    def _plan(self) -> Plan:
        scores = read_scores(self.results)
        return plan_runs(self.experiment, {run: scores[run] for run in self._done(scores.keys())})

    def _done(self, archived_runs: Set[str]) -> Set[str]:
        """The runs that count as done; of a forced sweep only those that were run again."""
        return archived_runs if self.forced is None else archived_runs & self.ended

    def _missing(self, plan: Plan) -> list[RunConfig]:
        """The runs that are to be trained, in their order."""
        missing = _to_train(plan, self._done(archived(self.results)))
        return [config for config in missing if plan.points[config.hash] not in self.refused]

    def _refuse_other_data(self, plan: Plan) -> None:
        """Refuses the points with finished runs of other data: their search and their seeds would be of two data sets."""
        if self.forced is not None:
            return
        for run, reason in self.data.differences(plan.runs, self._missing(plan)).items():
            self.refused[plan.points[run]] = reason

    def _train_next(self) -> bool:
        """Trains the first missing run that no other process trains, or waits a moment; returns False if none is missing."""
        plan = self._plan()
        self._refuse_other_data(plan)
        missing = self._missing(plan)
        later = {config.hash for config in plan.later}
        todo = [config for config in missing if config.hash not in later | self.failed.keys()]
        for config in todo:
            if self.stop.is_set():
                raise Preempted(f"{pluralize(len(missing), 'run')} of {self.experiment.info.name} to go")
            try:
                self._train(config, plan, missing)
                return True
            except RunLocked:
                continue
        if todo:
            self.stop.wait(POLL_S)
        return bool(todo)

    def _train(self, config: RunConfig, plan: Plan, missing: Sequence[RunConfig]) -> None:
        """Trains a run, or merges what another process has made of it."""
        with RunFolder(config.folder) as folder:  # skipped if another process holds the run
            if self.forced is not None and not _trained_since(folder, self.forced):
                folder.clear()
            before = folder.status() or {}
        if before.get("state") not in FINISHED:
            expected = len(plan.runs) + len(plan.later)
            count = f"{expected - len(missing) + 1}/{expected}"
            self.progress.begin(self._describe(config), count, self.costs.left(missing))
        begun = time.monotonic()
        try:
            if self.processes == 1:
                train(config, self.compiled)
            else:
                train_together(config, self.processes, self.nodes)
            merge([config.folder], self.results, config.experiment)
            self.ended.add(config.hash)
        except (RunLocked, OSError):
            raise  # the next run would meet the state of the disk too
        except UsageError as error:
            self.refused[plan.points[config.hash]] = str(error)
        except LostProcess as error:
            self.failed[config.hash] = str(error)
        except Exception as error:
            log.exception("run %s failed", config.name)
            self.failed[config.hash] = f"{config.name}: {type(error).__name__}: {error}"
        whole = not before.get("step") and (RunFolder(config.folder).status() or {}).get("state") == "done"
        self.progress.end(self.costs.of(config), time.monotonic() - begun if whole else None)

    def _failures(self) -> list[str]:
        """A line for each run that failed, and each variant that waits for one.

        Raises:
            UsageError: If a variant cannot be trained as asked.
        """
        waiting = [point for point in self._plan().waiting if point not in self.refused]
        failures = [*self.failed.values(), *map(_waiting_notice, waiting)]
        if not self.refused:
            return failures
        reasons = set(self.refused.values())
        if self.refused.keys() == set(self.experiment.points()) and len(reasons) == 1:
            raise UsageError(*reasons)
        raise UsageError("; ".join([*not_trained({str(point): why for point, why in self.refused.items()}), *failures]))

    def _describe(self, config: RunConfig) -> str:
        keys = dict.fromkeys(["optim.lr", *self.experiment.sweep])
        settings = [f"{key.rpartition('.')[2]} {_option(config, key)}" for key in keys]
        return ", ".join([config.arm, *(["search"] if config.phase == "tune" else []), *settings, f"seed {config.seed}"])


def _option(config: RunConfig, key: str) -> str:
    value: Any = config.model_dump()
    for name in key.split("."):
        value = value[name]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _trained_since(folder: RunFolder, moment: float) -> bool:
    """Whether a run was trained after a moment: by another process of a forced sweep, or by this one before it was stopped."""
    status = folder.path / "status.json"
    return status.exists() and status.stat().st_mtime > moment


def _was_begun_again(config: RunConfig) -> bool:
    """Whether a run that is archived was begun again here (``force=true``) and not finished."""
    status = RunFolder(config.folder).status()
    return status is not None and status["state"] not in FINISHED
