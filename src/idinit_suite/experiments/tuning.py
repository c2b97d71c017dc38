"""The search before the main runs: its state, from the archive, and the runs that come next.

Every `GridPoint` of an experiment is searched by the same rule, in two parts:

1. Successive halving (Jamieson & Talwalkar, 2016; Li et al., 2018). All values of the grid are tried with runs of the first
   rung's length, the better half of them again with those of the next rung's, and so on to whole search runs. A run of a rung
   is a run in miniature, its schedule included.
2. Widening. The best of the whole search runs is picked once it has beaten its two neighbours at that length. A neighbour
   that was not tried, because it lost in a shorter rung or lies beyond the grid, is tried then. The grid goes on by the
   ratio of its last pair but one, so that one of 0.1, 0.3, 1, 3 goes on with 10 and 30, up to ``widen`` values on each side.

Nothing is kept but the runs themselves, so that a search goes on wherever it was left, and several processes agree on it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import starmap
from pathlib import Path
from typing import Any, NamedTuple

from ..archive.runs import load
from ..config import RunConfig
from ..data import predicts_tokens
from .grid import Experiment, GridPoint, Tuning

Score = tuple[float, float]  # the higher the better


class Trial(NamedTuple):
    """One search run: a value of the searched key, and the run's length as a share of a whole search run's."""

    value: float
    share: float


@dataclass(frozen=True)
class Plan:
    """The runs of an experiment, as far as its search has come.

    Attributes:
        runs: Those that are known to be needed, archived or not: of the search, then of the points whose search is finished.
        later: Stand-ins for those that depend on them, as many and as long as they will be at least.
        picked: The values that the search has found, by point.
        waiting: Points whose search is not finished.
        points: Hash of a run, or of a stand-in -> what it is for.
    """

    runs: Sequence[RunConfig]
    later: Sequence[RunConfig]
    picked: Mapping[GridPoint, float]
    waiting: Sequence[GridPoint]
    points: Mapping[str, GridPoint]


def plan_runs(experiment: Experiment, scores: Mapping[str, Score]) -> Plan:
    """Says which runs an experiment needs.

    Args:
        experiment: The experiment.
        scores: Of the search runs that are finished, by hash; see `read_scores`.

    Raises:
        UsageError: If there is no validation split to compare search runs on.
    """
    tuning, points = experiment.grid.tune, experiment.points()
    if tuning is None or not experiment.tuned:
        return Plan(experiment.main_runs({}, points), (), {}, (), _points_of_main_runs(experiment, {}))
    searches: dict[str, RunConfig] = {}  # a run may serve two points, where what is swept makes no difference to it
    later: dict[str, RunConfig] = {}
    picked: dict[GridPoint, float] = {}
    searched: dict[str, GridPoint] = {}
    for point in points:
        run = partial(experiment.search_run, point)
        state = proceed(tuning, Values(tuning, experiment.recipe_value(point)), partial(_score_of, scores, run))
        known, expected = ({config.hash: config for config in starmap(run, trials)} for trials in (state.trials, state.later))
        searches |= known
        later |= expected
        searched |= dict.fromkeys([*known, *expected], point)
        if state.pick is not None:
            picked[point] = state.pick
    waiting = [point for point in points if point not in picked]
    return Plan(
        [*searches.values(), *experiment.main_runs(picked, [point for point in points if point in picked])],
        [*(config for run, config in later.items() if run not in searches), *experiment.main_runs({}, waiting)],
        picked,
        waiting,
        searched | _points_of_main_runs(experiment, picked),
    )


def _points_of_main_runs(experiment: Experiment, picked: Mapping[GridPoint, float]) -> dict[str, GridPoint]:
    return {config.hash: point for point in experiment.points() for config in experiment.main_runs(picked, [point])}


def _score_of(scores: Mapping[str, Score], run: Callable[[float, float], RunConfig], trial: Trial) -> Score | None:
    return scores.get(run(*trial).hash)


def read_scores(results: Path) -> dict[str, Score]:
    """Scores of the runs in an archive, by hash.

    A run with a higher validation accuracy is the better one, and of equal ones, such as those of a variant that is still at
    chance, that with the lower validation loss. Of language models the loss alone counts: rates differ in it long before they
    do in the share of right guesses. A diverged run ranks below all others.
    """
    rows = load(results).runs
    return {str(row["hash"]): _score(row) for row in rows[rows["phase"] == "tune"].to_dict("records")}


def _score(row: Mapping[Any, Any]) -> Score:
    if row["state"] != "done":
        return -math.inf, -math.inf
    dataset = json.loads(row["config"])["data"]["name"]
    accuracy = 0.0 if predicts_tokens(dataset) else float(row["validation_accuracy"])
    return accuracy, -float(row["validation_loss"])


class Values:
    """The values that a search may try, in order: those of its grid, and beyond it on both sides.

    Attributes:
        grid: Those of the grid.
    """

    def __init__(self, tuning: Tuning, recipe_value: float) -> None:
        factors = list(tuning.factors)
        for _ in range(tuning.widen):
            factors = [factors[0] * factors[1] / factors[2], *factors, factors[-1] * factors[-2] / factors[-3]]
        self._all = [float(f"{factor * recipe_value:.6g}") for factor in factors]
        self.grid = self._all[tuning.widen : len(factors) - tuning.widen]

    def neighbours(self, value: float) -> list[float]:
        """The next smaller and the next larger value, where there are."""
        at = self._all.index(value)
        return self._all[max(0, at - 1) : at] + self._all[at + 1 : at + 2]


@dataclass(frozen=True)
class SearchState:
    """The state of the search of one point.

    Attributes:
        trials: What is known to be needed.
        later: Stand-ins for what depends on it.
        pick: The value found, once all has ended.
    """

    trials: Sequence[Trial]
    later: Sequence[Trial] = ()
    pick: float | None = None


def proceed(tuning: Tuning, values: Values, score: Callable[[Trial], Score | None]) -> SearchState:
    """The search of one point, by the rule that this module states.

    Args:
        tuning: The rule's options.
        values: What may be tried.
        score: Of a finished trial; None for others.
    """
    trials: list[Trial] = []
    rung: list[Trial] = []
    alive = values.grid
    for number, share in enumerate(tuning.rungs):
        rung = [Trial(value, share) for value in alive]
        trials += rung
        if any(score(trial) is None for trial in rung):
            return SearchState(trials, _later(tuning.rungs[number + 1 :], alive, values))
        alive = sorted(trial.value for trial in _ranked(rung, score)[: math.ceil(len(rung) / 2)])
    while True:
        best = _ranked(rung, score)[0]
        new = [trial for value in values.neighbours(best.value) if (trial := Trial(value, best.share)) not in rung]
        if not new:
            return SearchState(trials, pick=best.value)
        rung, trials = rung + new, trials + new
        if any(score(trial) is None for trial in new):
            return SearchState(trials)


def _ranked(trials: Sequence[Trial], score: Callable[[Trial], Score | None]) -> list[Trial]:
    """Finished trials, the best first; of equals the smaller value."""
    return sorted(trials, key=lambda trial: (*(-part for part in score(trial) or ()), trial.value))


def _later(rungs: Sequence[float], alive: Sequence[float], values: Values) -> list[Trial]:
    """As many trials as will follow at least: halves of halves, and a pick with both its neighbours at the end."""
    trials: list[Trial] = []
    for share in rungs:
        alive = alive[: math.ceil(len(alive) / 2)]
        trials += [Trial(value, share) for value in alive]
    missing = [value for value in values.grid if value not in alive][: 3 - len(alive)] if len(alive) < 3 else []
    return trials + [Trial(value, 1.0) for value in missing]
