"""The search's rule, and the runs that each experiment makes of it."""

from __future__ import annotations

import math

import pytest

from idinit_suite.config.experiment import list_experiments
from idinit_suite.experiments.grid import Experiment, GridPoint, Tuning, load_experiment
from idinit_suite.experiments.tuning import Score, Trial, Values, plan_runs, proceed

GRID = (0.1, 0.3, 1.0, 3.0)


def tuning(factors: tuple[float, ...] = GRID, rungs: tuple[float, ...] = (0.25, 1.0), widen: int = 3) -> Tuning:
    return Tuning(key="optim.lr", factors=factors, epochs=2.0, rungs=rungs, widen=widen)


def searched(rule: Tuning, accuracy: dict[float, float] | None = None) -> tuple[list[Trial], float | None]:
    """The trials of a search with a recipe's value of 0.1, run to its end, and its pick.

    Args:
        rule: The rule's options.
        accuracy: Of each value at any length; other values diverge.
    """
    scores: dict[Trial, Score] = {}
    values = Values(rule, 0.1)
    while (steps := proceed(rule, values, scores.get)).pick is None:
        new = [trial for trial in steps.trials if trial not in scores]
        assert new, "a search that is not finished has runs to do"
        for trial in new:
            reached = (accuracy or {}).get(trial.value)
            scores[trial] = (-math.inf, -math.inf) if reached is None else (reached, -1.0)
    return list(steps.trials), steps.pick


def at_full_length(trials: list[Trial]) -> list[float]:
    return sorted(trial.value for trial in trials if trial.share == 1)


@pytest.mark.parametrize(
    ("factors", "below", "above"),
    [
        ((0.1, 0.3, 1.0, 3.0), [0.001, 0.003], [1.0, 3.0]),
        ((0.5, 1.5, 5.0), [0.005, 0.015], [1.5, 5.0]),
        ((0.5, 1.0, 2.0), [0.0125, 0.025], [0.4, 0.8]),
    ],
)
def test_a_grid_goes_on_in_its_own_steps(factors: tuple[float, ...], below: list[float], above: list[float]) -> None:
    values = Values(tuning(factors, widen=2), 0.1)
    assert values.grid == [float(f"{0.1 * factor:.6g}") for factor in factors]
    assert [*values.neighbours(below[1])] == [below[0], values.grid[0]]
    assert [*values.neighbours(above[0])] == [values.grid[-1], above[1]]
    assert values.neighbours(below[0]) == [below[1]] and values.neighbours(above[1]) == [above[0]]


@pytest.mark.parametrize(
    ("best", "full", "pick"),
    [
        ({0.01: 0.1, 0.03: 0.5, 0.1: 0.6, 0.3: 0.2}, [0.03, 0.1, 0.3], 0.1),  # inside: its neighbour that lost is run in full
        ({0.01: 0.6, 0.03: 0.5, 0.1: 0.3}, [0.003, 0.01, 0.03], 0.01),  # at the lower edge, which is the best
        ({0.003: 0.7, 0.01: 0.6, 0.03: 0.5, 0.1: 0.3}, [0.001, 0.003, 0.01, 0.03], 0.003),  # better beyond the edge
        ({0.1: 0.3, 0.3: 0.4, 1.0: 0.5, 3.0: 0.6, 10.0: 0.7, 30.0: 0.8}, [0.1, 0.3, 1.0, 3.0, 10.0], 10.0),  # to the limit
        ({}, [0.0003, 0.001, 0.003, 0.01, 0.03], 0.0003),  # all diverge: the smallest that may be tried
    ],
)
def test_a_pick_has_beaten_its_neighbours(best: dict[float, float], full: list[float], pick: float) -> None:
    trials, found = searched(tuning(), best)
    assert [trial for trial in trials if trial.share < 1] == [Trial(value, 0.25) for value in (0.01, 0.03, 0.1, 0.3)]
    assert at_full_length(trials) == full
    assert found == pick
    assert len(set(trials)) == len(trials)


@pytest.mark.parametrize("rungs", [(1.0,), (0.25, 1.0), (0.25, 0.5, 1.0)])
def test_the_better_half_goes_on(rungs: tuple[float, ...]) -> None:
    factors = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
    trials, _ = searched(tuning(factors, rungs, widen=0), {0.03: 0.9, 0.1: 0.8, 0.01: 0.7, 0.003: 0.6, 0.3: 0.5, 1.0: 0.4})
    tried = {share: sorted(trial.value for trial in trials if trial.share == share) for share in rungs}
    assert len(tried[rungs[0]]) == 8
    if len(rungs) > 1:
        assert tried[rungs[1]][:4] == [0.003, 0.01, 0.03, 0.1]
    if len(rungs) > 2:
        assert tried[1.0] == [0.01, 0.03, 0.1], "two of four, and the best one's other neighbour"


@pytest.mark.parametrize("rule", [tuning(), tuning(rungs=(1.0,)), tuning((0.5, 1.0, 2.0), (0.25, 0.5, 1.0))])
def test_what_is_foreseen_comes_at_least(rule: Tuning) -> None:
    foreseen = proceed(rule, Values(rule, 0.1), {}.get)
    assert len({*foreseen.trials, *foreseen.later}) == len(foreseen.trials) + len(foreseen.later)
    for best in (0.01, 0.1, 0.3):
        trials, _ = searched(rule, {best: 0.5})
        for share in rule.rungs:
            least = sum(trial.share == share for trial in (*foreseen.trials, *foreseen.later))
            assert sum(trial.share == share for trial in trials) >= least


def first_runs(experiment: Experiment) -> dict[str, list[float]]:
    runs: dict[str, list[float]] = {}
    for run in plan_runs(experiment, {}).runs:
        if run.phase == "tune":
            runs.setdefault(run.arm, []).append(run.optim["lr"])
    return runs


@pytest.mark.parametrize("name", list_experiments("grid"))
def test_every_variant_of_an_experiment_gets_the_same_search(name: str) -> None:
    experiment = load_experiment([f"experiment={name}", "budget=cpu"])
    if not experiment.tuned:
        pytest.skip("its rates are given")
    tune = experiment.grid.tune
    assert tune is not None
    runs = plan_runs(experiment, {}).runs
    assert {(run.train.epochs, run.seed, run.phase) for run in runs} == {(tune.epochs * tune.rungs[0], tune.seed, "tune")}
    grids = first_runs(experiment)
    assert grids.keys() == experiment.grid.arms.keys()
    for point in experiment.points():
        assert grids[point.variant] == [float(f"{factor * experiment.recipe_value(point):.6g}") for factor in tune.factors]


@pytest.mark.parametrize(
    ("overrides", "rates"),
    [
        ([], [0.01, 0.03, 0.1, 0.3]),
        (["grid.tune.factors=[0.5,1,2]"], [0.05, 0.1, 0.2]),
    ],
)
def test_rates_are_multiples_of_the_recipes_own(overrides: list[str], rates: list[float]) -> None:
    experiment = load_experiment(["experiment=cifar10-resnet20-ablation", "init=both", "budget=cpu", *overrides])
    assert first_runs(experiment) == {"both": rates}


def test_a_rate_that_is_swept_over_or_given_is_not_searched() -> None:
    experiment = load_experiment(
        ["experiment=cifar10-resnet20-ablation", "init=both", "seed=0", "budget=cpu", "optim.lr=0.1,0.2"]
    )
    plan = plan_runs(experiment, {})
    assert [run.optim["lr"] for run in plan.runs] == [0.1, 0.2] and not plan.later and not plan.waiting


def test_each_point_of_a_sweep_has_its_own_search() -> None:
    experiment = load_experiment(
        ["experiment=cifar10-resnet20-ablation", "init=both", "seed=0,1", "budget=cpu", "optim.weight_decay=0,0.001"]
    )
    first, second = experiment.points()
    assert first == GridPoint("both", ("optim.weight_decay=0",))
    full = [(run, Trial(run.optim["lr"], run.train.epochs)) for run in plan_runs(experiment, {}).runs]
    assert len(full) == 8 and len({run.hash for run, _ in full}) == 8

    scores: dict[str, Score] = {}
    best = {0.0: 0.3, 0.001: 0.03}
    while (plan := plan_runs(experiment, scores)).waiting:
        for run in plan.runs:
            scores[run.hash] = (-abs(math.log(run.optim["lr"] / best[run.optim["weight_decay"]])), 0.0)
    assert plan.picked == {first: 0.3, second: 0.03}
    main = [(run.seed, run.optim["weight_decay"], run.optim["lr"]) for run in plan.runs if run.phase == "main"]
    assert main == [(0, 0.0, 0.3), (0, 0.001, 0.03), (1, 0.0, 0.3), (1, 0.001, 0.03)]


def test_the_search_costs_less_than_a_third_of_a_night_on_cifar10() -> None:
    experiment = load_experiment(
        ["experiment=cifar10-resnet20", "budget=cpu", "seed=0,1,2", "grid.tune.epochs=2", "train.epochs=16"]
    )
    plan = plan_runs(experiment, {})
    epochs = {
        phase: sum(run.train.epochs for run in (*plan.runs, *plan.later) if run.phase == phase) for phase in ("tune", "main")
    }
    assert epochs["tune"] < epochs["main"] / 3
