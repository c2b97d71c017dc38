import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from idinit.errors import UsageError
from idinit_suite.archive.forecasts import read_forecasts
from idinit_suite.archive.runs import load as load_archive
from idinit_suite.archive.runs import merge
from idinit_suite.config import RunConfig
from idinit_suite.errors import Preempted
from idinit_suite.experiments.grid import Experiment, load_experiment
from idinit_suite.experiments.runner import run, unfinished
from idinit_suite.experiments.tuning import plan_runs, read_scores
from idinit_suite.report.grid_page import _forecasts
from idinit_suite.training.compile_cache import CompiledNetworks
from idinit_suite.training.run_folder import RunFolder

ROOT = Path(__file__).parents[3]
TINY = [
    "model=resnet",
    "model.depth=8",
    "data=digits",
    "data.batch_size=16",
    "data.validation=200",
    "impl.threads=1",
    "train.compile=false",
    "train.precision=float32",
]


def picks(grid: Experiment) -> dict[str, float]:
    """What the search of each variant has found."""
    scores = read_scores(grid.paths.results / grid.info.name)
    return {point.variant: value for point, value in plan_runs(grid, scores).picked.items()}


def experiment(folder: Path, *arguments: str, name: str = "cifar10-resnet20-ablation") -> Experiment:
    places = [f"paths.{place}={folder}/{place}" for place in ("data", "runs", "results")]
    return load_experiment(
        [f"experiment={name}", "budget=smoke", "data.train_limit=32", "wandb.mode=disabled", *TINY, *places, *arguments]
    )


def test_searches_then_runs_then_writes_results_and_runs_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ablation = experiment(tmp_path, "init=both,neither", "+grid.tune.widen=1")
    assert run(ablation) == []
    results = tmp_path / "results" / "cifar10-resnet20-ablation"
    rows = pd.read_csv(results / "runs.csv")
    picked = picks(ablation)
    main = rows[rows["phase"] == "main"].set_index("arm")["lr"].to_dict()
    assert main == picked and set(picked) == {"both", "neither"}
    for variant in picked:
        tried = rows[(rows["arm"] == variant) & (rows["phase"] == "tune")]
        assert set(tried.loc[tried["epochs"] == 0.25, "lr"]) == {0.01, 0.03, 0.1, 0.3}
        whole = tried[tried["epochs"] == 1].set_index("lr")["validation_accuracy"]
        assert len(whole) in (3, 4) and whole[picked[variant]] == whole.max()
    assert {"README.md", "runs.csv", "curves.csv", "curves.svg", "curves.png"} <= {p.name for p in results.iterdir()}
    first = capsys.readouterr().out
    assert "2 runs and at least 14 short ones that pick the recipe; 16 to do\n" in first and "network here: about" in first

    before = {p.name: p.read_bytes() for p in results.iterdir()}
    assert run(ablation) == []
    assert "nothing to do" in capsys.readouterr().out
    assert {p.name: p.read_bytes() for p in results.iterdir()} == before


def test_of_equal_accuracies_the_lower_loss_is_picked(tmp_path: Path) -> None:
    whole = ["grid.tune.rungs=[1]", "+grid.tune.widen=0"]
    ablation = experiment(tmp_path, "init=both", "grid.tune.factors=[0.1,0.3,1]", *whole)
    assert run(ablation) == []
    results = tmp_path / "results" / "cifar10-resnet20-ablation"
    rows = pd.read_csv(results / "runs.csv")
    at_chance = rows["phase"] == "tune"
    rows.loc[at_chance, "validation_accuracy"] = 0.1
    rows.loc[at_chance, "validation_loss"] = rows["lr"].map({0.01: 2.303, 0.03: 2.301, 0.1: 2.302})
    rows.to_csv(results / "runs.csv", index=False)
    assert picks(ablation) == {"both": 0.03}


def test_the_search_of_a_language_model_goes_by_its_loss(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "train.txt").write_text("the cat sat on the mat and the dog sat by the cat\n" * 150)
    tiny = ["model.width=16", "model.depth=1", "model.heads=2", "model.hidden=32", "model.positions=8", "data.length=8"]
    small = ["data.vocabulary=100", "data.batch_size=16", "impl.threads=1", "train.precision=float32", "wandb.mode=disabled"]
    places = [f"paths.data={tmp_path}", *(f"paths.{place}={tmp_path}/{place}" for place in ("runs", "results"))]
    pretraining = load_experiment(["experiment=bert-mini", "budget=smoke", "init=default", *tiny, *small, *places])
    assert run(pretraining) == []
    results = tmp_path / "results" / "bert-mini"
    tried = pd.read_csv(results / "runs.csv").query("phase == 'tune'").set_index("lr")["validation_loss"]
    assert picks(pretraining) == {"default": tried.idxmin()}
    assert tried.idxmin() != tried.index.min()  # which is taken of equals


def test_a_run_in_the_archive_counts_as_done_where_its_folder_is_gone(tmp_path: Path) -> None:
    grid = experiment(tmp_path, "init=idinit", "optim.lr=0.1", name="demo")
    run(grid)
    folder = grid.main_runs({})[0].folder
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    folder.rmdir()
    run(grid)
    assert not folder.exists()
    run(grid, forced=time.time())
    assert json.loads((folder / "status.json").read_text())["state"] == "done"


def test_a_diverged_run_is_a_result_and_ranks_last_in_the_search(tmp_path: Path) -> None:
    factors = ["grid.tune.factors=[0.1,1e30,1e31]", "grid.tune.rungs=[1]", "+grid.tune.widen=0"]
    ablation = experiment(tmp_path, "init=both", "schedule.warmup=0", *factors)
    assert run(ablation) == []
    rows = pd.read_csv(tmp_path / "results" / "cifar10-resnet20-ablation" / "runs.csv")
    assert set(rows[rows["lr"] > 1e28]["state"]) == {"diverged"}
    assert rows[rows["phase"] == "main"]["lr"].tolist() == [0.01]


def test_a_failure_is_reported_and_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from idinit_suite.data.images import batches as loader

    original, calls = loader.ImageBatches.train_batch, []

    def fails_for_seed_0(self: loader.ImageBatches, step: int) -> object:
        if self._context.seed == 0:
            calls.append(step)
            raise RuntimeError("cosmic ray")
        return original(self, step)

    monkeypatch.setattr(loader.ImageBatches, "train_batch", fails_for_seed_0)
    monkeypatch.setattr("idinit_suite.experiments.cost.Costs.of", lambda self, config: 0.0)
    grid = experiment(tmp_path, "init=idinit", "seed=0,1", "optim.lr=0.1", name="demo")
    failures = run(grid)
    assert len(failures) == 1 and "cosmic ray" in failures[0]
    assert calls == [0]
    states = {config.seed: json.loads((config.folder / "status.json").read_text())["state"] for config in grid.main_runs({})}
    assert states == {0: "failed", 1: "done"}


def test_an_arm_whose_search_failed_is_not_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from idinit_suite.experiments import runner

    original, ablation = runner.train, experiment(tmp_path, "init=both,neither", "grid.tune.rungs=[1]")
    missing = plan_runs(ablation, {}).runs[1]

    def fails_once_in_a_search(config: RunConfig, compiled: CompiledNetworks) -> object:
        if config.hash == missing.hash:
            raise RuntimeError("cosmic ray")
        return original(config, compiled)

    monkeypatch.setattr(runner, "train", fails_once_in_a_search)
    failed, waits = run(ablation)
    assert missing.name in failed and missing.arm == "both" and waits.startswith("both: not trained")
    results = tmp_path / "results" / "cifar10-resnet20-ablation" / "runs.csv"
    rows = pd.read_csv(results)
    assert rows[rows["phase"] == "main"]["arm"].tolist() == ["neither"]

    monkeypatch.undo()
    assert run(ablation) == []
    rows = pd.read_csv(results)
    assert sorted(rows[rows["phase"] == "main"]["arm"]) == ["both", "neither"]


@pytest.mark.parametrize("force", [False, True])
def test_a_run_that_another_process_trains_is_passed_over_and_waited_for(tmp_path: Path, force: bool) -> None:
    grid = experiment(tmp_path, "init=idinit,fixup", "optim.lr=0.1", name="demo")
    first, second = grid.main_runs({})
    sweep = threading.Thread(target=run, args=(grid,), kwargs={"forced": time.time() if force else None})
    with RunFolder(first.folder):
        (first.folder / "metrics.jsonl").write_text("its own\n")
        sweep.start()
        while not (second.folder / "status.json").exists() or RunFolder(second.folder).status()["state"] != "done":
            time.sleep(0.05)
        assert (first.folder / "metrics.jsonl").read_text() == "its own\n"
        assert sweep.is_alive()
    sweep.join(60)
    assert RunFolder(first.folder).status()["state"] == "done"
    assert sorted(pd.read_csv(tmp_path / "results" / "demo" / "runs.csv")["arm"]) == ["fixup", "idinit"]


def test_sweeps_at_once_share_the_runs_and_do_none_twice(tmp_path: Path) -> None:
    grid = experiment(tmp_path, "init=idinit,fixup,zero", "seed=range(3)", "optim.lr=0.1", name="demo")
    arguments = ["experiment=demo", "init=idinit,fixup,zero", "seed=range(3)", "launcher=serial", *grid.overrides]
    command = [sys.executable, str(ROOT / "scripts" / "sweep.py"), *arguments]
    sweeps = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) for _ in range(3)]
    said = [sweep.communicate(timeout=300)[0] for sweep in sweeps]
    assert [sweep.returncode for sweep in sweeps] == [0, 0, 0]
    for config in grid.main_runs({}):
        begun = sum(f"{config.name}  0/" in text for text in said)
        assert begun == 1, f"{config.name} was begun by {begun} sweeps"
    assert len(pd.read_csv(tmp_path / "results" / "demo" / "runs.csv")) == 9


def test_a_sweep_that_is_told_to_stop_between_runs_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from idinit_suite.experiments import runner

    def merge_and_stop(*arguments: Any) -> set[str]:
        os.kill(os.getpid(), signal.SIGTERM)
        return merge(*arguments)

    monkeypatch.setattr(runner, "merge", merge_and_stop)
    grid = experiment(tmp_path, "init=idinit,fixup", "optim.lr=0.1", name="demo")
    with pytest.raises(Preempted, match="1 run of demo"):
        run(grid)
    assert [config.folder.exists() for config in grid.main_runs({})] == [True, False]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_second_process_on_the_same_run_is_refused(tmp_path: Path) -> None:
    grid = experiment(tmp_path, "init=idinit", "optim.lr=0.1", name="demo")
    (config,) = grid.main_runs({})
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), "experiment=demo", "init=idinit", *grid.overrides]
    with RunFolder(config.folder):
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
        assert [path.name for path in config.folder.iterdir()] == [".lease"]
    assert done.returncode == 2
    assert done.stderr.startswith(f"idinit: run {config.name} is being trained by another process")
    assert done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize(
    ("script", "arguments", "code", "message"),
    [
        ("sweep.py", ["experiment=demmo"], 2, "unknown experiment 'demmo': did you mean 'demo'"),
        ("train.py", ["init=fixpu"], 2, "unknown init 'fixpu': did you mean 'fixup'"),
        ("train.py", ["optim.lr=-1"], 2, "'optim.lr=-1': input should be greater than 0"),
        ("train.py", ["-m", "init=idinit,fixup", "optim.lrr=1"], 2, "unknown key 'optim.lrr': did you mean 'lr'"),
        ("train.py", ["model=resnet20", "data=cifar10", "paths.data=nowhere"], 2, "'cifar10' was not found"),
        ("sweep.py", ["experiment=cifar10-resnet20", "init=idinit", "paths.data=it's, (not) there"], 2, "it's, (not) there"),
        ("train.py", ["data=digits", "init=zero_gamma"], 2, "use a network with normalization there"),
    ],
)
def test_exit_codes(script: str, arguments: list[str], code: int, message: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == code
    assert re.sub(r"\s+", " ", message) in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def test_an_archived_run_that_was_begun_again_is_finished(tmp_path: Path) -> None:
    grid = experiment(tmp_path, "init=idinit", "optim.lr=0.1", name="demo")
    run(grid)
    status = grid.main_runs({})[0].folder / "status.json"
    status.write_text(json.dumps({**json.loads(status.read_text()), "state": "preempted"}))
    run(grid)
    assert json.loads(status.read_text())["state"] == "done"


def test_a_forced_sweep_that_is_started_again_keeps_what_it_has_trained(tmp_path: Path) -> None:
    """As a job of Slurm that was preempted or ran out of time: it comes back with the moment at which it was first asked."""
    grid = experiment(tmp_path, "seed=0,1", "init=idinit", "optim.lr=0.1", name="demo")
    run(grid)
    finished, begun = (config.folder for config in grid.main_runs({}))
    forced = time.time()
    run(grid, forced=forced)
    rows = finished / "metrics.jsonl"
    status = json.loads((begun / "status.json").read_text())
    (begun / "status.json").write_text(json.dumps({**status, "state": "preempted"}))
    (begun / "left").touch()
    written = rows.stat().st_mtime_ns
    run(grid, forced=forced)
    assert rows.stat().st_mtime_ns == written and (begun / "left").exists()
    assert json.loads((begun / "status.json").read_text())["state"] == "done"
    run(grid, forced=time.time())
    assert rows.stat().st_mtime_ns > written and not (begun / "left").exists()


def test_a_variant_that_cannot_be_built_is_listed_and_the_others_run(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "sweep.py"), "experiment=demo", "launcher=serial"]
    overrides = experiment(tmp_path, "optim.lr=0.1", name="demo").overrides
    done = subprocess.run(
        [*command, "init=t_fixup,idinit", "seed=0,1", *overrides], capture_output=True, text=True, cwd=tmp_path, timeout=300
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("idinit: t_fixup was not trained: ") and done.stderr.count("\n") == 1
    rows = pd.read_csv(tmp_path / "results" / "demo" / "runs.csv")
    assert rows[["arm", "seed"]].to_numpy().tolist() == [["idinit", 0], ["idinit", 1]]


@pytest.mark.parametrize(("key", "refused", "trained"), [("model.norm", "none", "batch"), ("data.batch_size", "64", "16")])
def test_a_point_of_a_sweep_that_cannot_be_trained_is_listed_and_the_others_run(
    key: str, refused: str, trained: str, tmp_path: Path
) -> None:
    """One that the network refuses, and one that the data refuse."""
    small = [override for override in experiment(tmp_path, name="demo").overrides if not override.startswith(f"{key}=")]
    grid = load_experiment(
        ["experiment=demo", "init=zero_gamma", "seed=0,1", "optim.lr=0.1", f"{key}={refused},{trained}", *small]
    )
    with pytest.raises(UsageError, match=f"^zero_gamma {key}={refused} was not trained: [^;]*$"):
        run(grid)
    rows = pd.read_csv(tmp_path / "results" / "demo" / "runs.csv")
    group, _, name = key.partition(".")
    assert rows["seed"].tolist() == [0, 1] and {str(json.loads(row)[group][name]) for row in rows["config"]} == {trained}


def test_what_a_forced_sweep_did_not_finish_is_unfinished_whatever_is_archived(tmp_path: Path) -> None:
    grid = experiment(tmp_path, "init=idinit", "seed=0,1", "optim.lr=0.1", name="demo")
    started = time.time()
    run(grid, forced=started)
    names = [config.name for config in grid.main_runs({})]
    assert unfinished(grid) == unfinished(grid, started) == [] and unfinished(grid, time.time()) == names
    status = grid.main_runs({})[1].folder / "status.json"
    status.write_text(json.dumps({**json.loads(status.read_text()), "state": "failed"}))
    assert unfinished(grid, started) == names[1:]


def test_the_forecast_is_kept_beside_what_the_runs_took(tmp_path: Path) -> None:
    run(experiment(tmp_path, "init=idinit", "seed=0", "optim.lr=0.1", name="demo"))
    grid = experiment(tmp_path, "init=idinit", "seed=0,1,2", "optim.lr=0.1", name="demo")
    run(grid)
    run(grid, forced=time.time())
    results = tmp_path / "results" / "demo"
    rows = load_archive(results).runs
    first, second = read_forecasts(results)
    assert _forecasts([first, second], rows[rows["seed"] == 0]) == _forecasts([first], rows[rows["seed"] == 0]) != []
    assert (first.runs, second.runs) == (1, 2) and first.seconds > 0 < second.seconds
    page = (results / "README.md").read_text()
    assert page.count("\nForecast for ") == 2 and "Forecast for 2 runs of the smoke budget (1 variant, 1 epoch)" in page
    assert first.runs_since(rows, [second])[0] == 1
    assert second.runs_since(rows) == (2, pytest.approx(rows.loc[rows["seed"] > 0, "time_s"].sum()))
    # one of a part of a grid leaves the other runs of that grid to the forecast of the whole
    part = second.model_copy(update={"variants": ("fixup",), "before": ()})
    assert second.runs_since(rows, [part]) == second.runs_since(rows)
    assert first.runs_since(rows, [part, second])[0] == 1
