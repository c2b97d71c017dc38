"""Runs what is missing of an experiment, and brings its results up to date."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

from ..config import RunConfig
from ..errors import RunLocked, UsageError
from ..report.archive import archived, load, merge
from ..report.results import update_results
from ..training.compiled import CompiledNetworks
from ..training.loop import train
from ..training.progress import console
from .cost import announce
from .grid import Experiment

log = logging.getLogger(__name__)


def run(experiment: Experiment, *, force: bool = False) -> list[str]:
    """Runs an experiment seed by seed across its arms; finished runs are skipped, unfinished ones go on.

    Args:
        experiment: What to run.
        force: Run again what is finished.

    Returns:
        One line for each run that failed twice.

    Raises:
        UsageError: If what was asked cannot be done.
        Preempted: If SIGTERM or SIGINT came; the same command goes on.
    """
    searches = experiment.tuning_runs()
    expected = [*searches, *experiment.main_runs({})]
    results = expected[0].paths.results / experiment.info.name
    done = set() if force else archived(results)
    announce(experiment, expected, [c for c in expected if c.hash not in done])
    compiled = CompiledNetworks()
    failures = _train_missing(searches, results, compiled, force)
    main = experiment.main_runs(pick(experiment, searches, results))
    try:
        failures += _train_missing(main, results, compiled, force)
    finally:
        folders = [config.folder for config in [*searches, *main] if config.folder.exists()]
        console.print(update_results(experiment.info, folders, results))
    return failures


def pick(experiment: Experiment, searches: Sequence[RunConfig], results: Path) -> dict[str, float]:
    """For each arm the value of the search whose run ended with the highest validation accuracy.

    A diverged run ranks below all others; of equals the smaller value is taken.
    """
    tune = experiment.grid.tune
    if tune is None or not searches:
        return {}
    rows = load(results).runs.set_index("hash")
    best: dict[str, tuple[float, float]] = {}
    for config, value in zip(searches, tune.values * len(experiment.grid.arms), strict=True):
        if config.hash not in rows.index:
            continue  # it failed; said at the end
        row = rows.loc[config.hash]
        score = float(row["validation_accuracy"]) if row["state"] == "done" else -math.inf
        best[config.arm] = max(best.get(config.arm, (-math.inf, -math.inf)), (score, -value))
    return {arm: -negated for arm, (_, negated) in best.items()}


def _train_missing(runs: Sequence[RunConfig], results: Path, compiled: CompiledNetworks, force: bool) -> list[str]:
    failures = []
    done = set() if force else archived(results)
    for number, config in enumerate(runs, start=1):
        if config.hash in done:
            continue
        if force:
            shutil.rmtree(config.folder, ignore_errors=True)
        console.print(f"[{number}/{len(runs)}] {config.arm} {config.phase} lr {config.optim['lr']:g} seed {config.seed}", markup=False)
        failure = _train_twice(config, compiled)
        if failure is None:
            done |= merge([config.folder], results)
        else:
            failures.append(failure)
    return failures


def _train_twice(config: RunConfig, compiled: CompiledNetworks) -> str | None:
    """Trains a run, once more if it fails; returns what went wrong the second time."""
    problem = ""
    for _ in range(2):
        try:
            train(config, compiled)
            return None
        except RunLocked as locked:
            return str(locked)
        except (UsageError, OSError):
            raise  # the next run would meet it too
        except Exception as error:
            log.exception("run %s failed", config.name)
            problem = f"{config.name}: {type(error).__name__}: {error}"
    return problem
