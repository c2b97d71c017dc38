"""The scripts beside sweep.py and train.py, and which of make's variables reach them."""

import subprocess
import sys
from pathlib import Path

import pytest
from small_sweeps import TINY, places

from idinit_suite.commands.plan import plan
from idinit_suite.config import RunConfig
from idinit_suite.data import Batches
from idinit_suite.experiments import cost
from idinit_suite.experiments.cost import Costs
from idinit_suite.experiments.grid import load_experiment
from idinit_suite.experiments.runner import run
from idinit_suite.experiments.tuning import plan_runs
from idinit_suite.training.run_folder import read_metrics
from idinit_suite.training.trainer import train

ROOT = Path(__file__).parents[3]


def overrides(folder: Path) -> list[str]:
    return ["budget=smoke", "optim.lr=0.001", "wandb.mode=disabled", "data=digits", *TINY, *places(folder)]


def test_report_makes_the_same_results_from_the_run_folders(tmp_path: Path) -> None:
    run(load_experiment(["experiment=cifar10-resnet56", "init=idinit", "seed=0", *overrides(tmp_path)]))
    demo = load_experiment(["experiment=demo", "init=idinit", "seed=0", *overrides(tmp_path)]).main_runs({})[0]
    train(demo)
    results = tmp_path / "results" / "cifar10-resnet56"
    before = {path.name: path.read_bytes() for path in results.iterdir()}
    for path in results.iterdir():
        if path.name != "forecasts.json":  # which says when it was made, and no run does
            path.unlink()
    script = ROOT / "scripts" / "report.py"
    done = subprocess.run([sys.executable, script, *places(tmp_path)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "cifar10-resnet20: no finished runs yet" in done.stdout and "idinit" in done.stdout
    assert {path.name: path.read_bytes() for path in results.iterdir()} == before
    overview = (results.parent / "REPRODUCTION.md").read_text()
    assert "[cifar10-resnet56](cifar10-resnet56/) *not run at this scale*" in overview
    assert "## Results: scikit-learn digits" in (results / "README.md").read_text()
    assert not (results.parent / "demo").exists(), "a demonstration that was tried is no result"
    assert "<!doctype html>" in (results.parent / "report.html").read_text()


def test_plan_says_what_is_done_and_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["init=idinit", "seed=0", *overrides(tmp_path)]
    run(load_experiment(["experiment=demo", *arguments]))
    capsys.readouterr()
    plan(arguments)
    rows = {line.split()[1]: line.split()[3:] for line in capsys.readouterr().out.splitlines() if " smoke " in line}
    counts = {name: [word for word in words if word.isdigit()] for name, words in rows.items()}
    assert counts["demo"] == ["1", "1", "0"] and rows["demo"][-1] in ("0.00", "│")
    assert counts["cifar10-resnet20"] == ["1", "0", "1"]


def test_the_estimate_counts_the_steps_and_the_evaluations_that_runs_make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = load_experiment(
        ["experiment=cifar10-resnet20-ablation", "init=both", *[o for o in overrides(tmp_path) if "lr=" not in o]]
    )
    searches, main = plan_runs(grid, {}).runs[:1], grid.main_runs({})
    for costs, counted in (((1.0, 0.0), "steps"), ((0.0, 1.0), "evaluations")):
        monkeypatch.setattr("idinit_suite.experiments.cost._seconds", lambda config, data, costs=costs: costs)
        for config in (*searches, *main):
            if not config.folder.exists():
                train(config)
            rows = read_metrics(config.folder / "metrics.jsonl")
            sizes = {"train": 0, "validation": config.data["validation"], "test": 360}
            made = {"steps": max(row["step"] for row in rows), "evaluations": sum(sizes[row["split"]] for row in rows)}
            assert Costs().of(config) == made[counted]


def test_a_network_is_measured_once_whatever_fills_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = load_experiment(
        ["experiment=cifar10-resnet56", "init=t_fixup,idinit,kaiming,zero_gamma", "seed=0", *overrides(tmp_path)]
    )
    measured: list[str] = []

    def seconds(config: RunConfig, data: Batches) -> tuple[float, float]:
        measured.append(config.init["name"])
        return cost_of_a_step(config, data)

    cost_of_a_step = cost._seconds
    monkeypatch.setattr(cost, "_seconds", seconds)
    costs = Costs()
    found = {config.arm: costs.of(config) for config in grid.main_runs({})}
    assert measured == ["t_fixup", "idinit", "zero_gamma"]  # refused, without and with BatchNorm
    assert found["t_fixup"] == 0 < found["idinit"] == found["kaiming"]


def test_the_time_left_counts_on_every_process_that_shares_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = load_experiment(["experiment=cifar10-resnet56", "init=idinit,kaiming,xavier", "seed=0", *overrides(tmp_path)])
    monkeypatch.setattr(cost, "_seconds", lambda config, data: (1.0, 0.0))
    runs = grid.main_runs({})
    one, three = Costs().of(runs[0]), Costs().total(runs)
    assert [Costs(sweeps=sweeps).left(runs) for sweeps in (1, 2, 4)] == [three, three / 2, one]
    assert Costs().left([]) == 0


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("plan", ["budget=cpu", "init=a,b", "seed=0,1", "paths.data=d", "x=1"]),
        ("report", ["paths.data=d", "x=1"]),
        ("bench", ["paths.data=d", "x=1"]),
    ],
)
def test_make_gives_each_script_the_variables_that_mean_something_to_it(target: str, words: list[str]) -> None:
    variables = ["BUDGET=cpu", "INITS=a b", "SEEDS=0 1", "DATA=d", "ARGS=x=1", "FORCE=1"]
    command = ["make", "--no-print-directory", "-C", ROOT, "-o", ".venv/.installed", "RUN=printf '%s\\n'", target, *variables]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"scripts/{target}.py", *words]
