import math
import re
from pathlib import Path

import pytest
import yaml

from idinit.errors import UsageError
from idinit_suite.config import CONFIG_DIR, check, compose
from idinit_suite.config.experiment import list_experiments
from idinit_suite.experiments.grid import GridPoint, load_experiment

BUDGETS = ["smoke", "cpu", "paper"]


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("name", list_experiments("grid"))
def test_every_experiment_expands_to_checked_runs(name: str, budget: str) -> None:
    experiment = load_experiment([f"experiment={name}", f"budget={budget}"])
    runs = experiment.main_runs({})
    points = math.prod(map(len, experiment.grid.sweep.values()))
    assert len(runs) == len(experiment.grid.arms) * len(experiment.grid.seeds) * points
    assert len({run.hash for run in runs}) == len(runs), "two variants are the same run"
    assert {run.experiment for run in runs} == {name}
    assert [run.seed for run in runs] == sorted(run.seed for run in runs), "seed by seed across variants"


@pytest.mark.parametrize("name", list_experiments("grid"))
def test_every_experiment_file_says_what_it_is_and_its_head_is_complete(name: str) -> None:
    lines = (CONFIG_DIR / "experiment" / f"{name}.yaml").read_text().splitlines()
    assert lines[0] == "# @package _global_" and re.match(r"# \w", lines[1])
    info = load_experiment([f"experiment={name}"]).info
    assert info.name == name and info.command.startswith(f"make {name}") and info.title and info.cost and info.deviations


@pytest.mark.parametrize("name", list_experiments("grid"))
def test_one_run_of_an_experiment_is_what_the_sweep_would_run(name: str) -> None:
    experiment = load_experiment([f"experiment={name}", "budget=cpu"])
    variant, overrides = next(iter(experiment.grid.arms.items()))
    seed = experiment.grid.seeds[0]
    point = [f"{key}={values[0]}" for key, values in experiment.grid.sweep.items()]
    alone = check(compose([f"experiment={name}", "budget=cpu", f"seed={seed}", *overrides, *point]))
    assert alone.hash == experiment.main_runs({})[0].hash
    assert experiment.main_runs({})[0].arm == variant


def test_variants_seeds_and_swept_keys_come_from_the_command_line() -> None:
    experiment = load_experiment(
        ["experiment=cifar10-resnet20", "init=idinit,fixup", "seed=range(2)", "optim.lr=0.01,0.1", "budget=cpu"]
    )
    runs = experiment.main_runs({})
    assert [(r.seed, r.arm, r.optim["lr"]) for r in runs] == [
        (seed, variant, lr) for seed in (0, 1) for variant in ("idinit", "fixup") for lr in (0.01, 0.1)
    ]
    assert not experiment.tuned, "a learning rate that was asked for is not searched"


def test_a_grid_with_a_sweep_runs_every_variant_at_every_point() -> None:
    experiment = load_experiment(["experiment=cifar10-sensitivity", "init=idinit,kaiming", "seed=0", "budget=cpu"])
    points = [(r.arm, r.optim["lr"], r.optim["weight_decay"]) for r in experiment.main_runs({})]
    rates, decays = (0.01, 0.03, 0.1, 0.3, 1.0), (1e-4, 1e-3, 1e-2)
    assert points == [(variant, lr, decay) for variant in ("idinit", "kaiming") for lr in rates for decay in decays]


def test_the_command_line_narrows_a_sweep() -> None:
    experiment = load_experiment(
        ["experiment=cifar10-sensitivity", "init=idinit", "optim.lr=0.1", "optim.weight_decay=0,1e-3", "seed=0"]
    )
    points = [(r.optim["lr"], r.optim["weight_decay"]) for r in experiment.main_runs({})]
    assert points == [(0.1, 0.0), (0.1, 1e-3)]


def test_any_initializer_can_join_an_experiment() -> None:
    experiment = load_experiment(["experiment=cifar10-allconv", "init=lsuv"])
    assert [run.init["name"] for run in experiment.main_runs({})] == ["lsuv"] * len(experiment.grid.seeds)


@pytest.mark.parametrize("override", ["optim.lr=0.1", "++optim.lr=0.1"])
def test_what_the_command_line_sets_is_not_searched(override: str) -> None:
    experiment = load_experiment(["experiment=cifar10-resnet20", "init=idinit", override, "budget=cpu"])
    assert not experiment.tuned
    assert {run.optim["lr"] for run in experiment.main_runs({})} == {0.1}


def test_a_search_without_a_validation_split_is_refused() -> None:
    experiment = load_experiment(["experiment=cifar10-resnet20", "init=idinit", "data.validation=0"])
    with pytest.raises(UsageError, match=r"data\.validation=0 .*optim\.lr"):
        experiment.search_run(GridPoint("idinit"), 0.1, 1.0)


def test_what_the_search_found_is_used() -> None:
    experiment = load_experiment(["experiment=cifar10-resnet20", "init=idinit,fixup", "seed=0", "budget=cpu"])
    rates = {run.arm: run.optim["lr"] for run in experiment.main_runs({GridPoint("idinit"): 0.03, GridPoint("fixup"): 0.01})}
    assert rates == {"idinit": 0.03, "fixup": 0.01}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which experiment?"),
        (["experiment=cifar10-resnet65"], "did you mean 'cifar10-resnet56'"),
        (["experiment=demo", "init=idint"], "unknown initializer 'idint': did you mean 'idinit'"),
        (["experiment=demo", "seed=-1"], "'seeds.0=-1': input should be greater than or equal to 0"),
        (["experiment=demo", "optim.lrr=0.1"], "unknown key 'optim.lrr': did you mean 'lr'"),
        (["experiment=cifar10-resnet20", "grid.tune.factors=[1,0.3,3]"], "give each once, the smallest first"),
        (["experiment=cifar10-resnet20", "grid.tune.rungs=[0.25,0.5]"], "the last rung is 1, a whole search run"),
        (["experiment=demo", "budget=cup"], "unknown budget 'cup': did you mean 'cpu'"),
        (["experiment=demo,cifar10-resnet20"], "which experiment? Set experiment=NAME"),
        (["experiment=demo", "paths.data=it's"], "cannot read 'paths.data=it's'"),
    ],
)
def test_a_mistake_gets_one_line(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_experiment(arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_seed_that_is_no_number_is_said_once() -> None:
    with pytest.raises(UsageError, match=r"'seeds\.1=a'") as caught:
        load_experiment(["experiment=demo", "seed=0,a"])
    assert str(caught.value).count("seeds") == 1


def test_configs_name_no_unknown_files() -> None:
    files = {path.relative_to(CONFIG_DIR) for path in CONFIG_DIR.rglob("*.yaml")}
    assert {Path("train.yaml"), Path("grid/initializers.yaml")} <= files
    for path in files:
        yaml.safe_load((CONFIG_DIR / path).read_text())
