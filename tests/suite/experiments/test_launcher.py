"""Sweeps in several processes on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from small_sweeps import TINY, places

from idinit.errors import UsageError
from idinit_suite.experiments.concurrency import choose_jobs
from idinit_suite.experiments.grid import load_experiment
from idinit_suite.experiments.launcher import launch
from idinit_suite.experiments.processes import cores, shares
from idinit_suite.experiments.runner import missing_runs

ROOT = Path(__file__).parents[3]


def arguments(folder: Path, *more: str) -> list[str]:
    grid = ["experiment=demo", "budget=smoke", "init=idinit,fixup", "seed=0,1", "wandb.mode=disabled"]
    return [*grid, *TINY, *places(folder), *more]


def archived_variants(folder: Path) -> list[str]:
    return sorted(pd.read_csv(folder / "results" / "demo" / "runs.csv")["arm"])


@pytest.mark.parametrize(
    ("jobs", "cores", "gpus", "expected"),
    [
        (2, [0, 1, 2, 3], 0, [([0, 2], None), ([1, 3], None)]),
        (3, [4, 5, 6, 7], 2, [([4, 7], 0), ([5], 1), ([6], 0)]),
        (3, [0, 1], 0, [([0], None), ([1], None), ([0], None)]),
    ],
)
def test_processes_get_equal_shares_of_cores_and_gpus(jobs: int, cores: list[int], gpus: int, expected: list) -> None:
    assert shares(jobs, cores, gpus) == expected


@pytest.mark.parametrize(("name", "jobs"), [("serial", 1), ("local", "auto"), ("slurm", 4)])
def test_every_launcher_is_a_choice(name: str, jobs: int | str) -> None:
    config = load_experiment(["experiment=cifar10-resnet20", f"launcher={name}"]).launcher
    assert (config.name, config.jobs) == (name, jobs)


@pytest.mark.parametrize(
    ("launcher", "options", "message"),
    [
        ("local", {"jobs": "0"}, "'launcher.jobs=0': give a whole number, at least 1, or auto"),
        ("local", {"jobs": "abc"}, "'launcher.jobs=abc': give a whole number, at least 1, or auto"),
        ("local", {"jobs": "true"}, "'launcher.jobs=True': true is not a number"),
        ("slurm", {"jobs": "auto"}, "'launcher': jobs=auto is measured on this machine"),
        ("slurm", {"nodes": "0"}, "'launcher.nodes=0': input should be greater than or equal to 1"),
        ("slurm", {"nodes": "1.5"}, "'launcher.nodes=1.5': input should be a valid integer"),
        ("slurm", {"nodes": "100", "processes": "100"}, "'launcher': nodes=100 times processes=100 are more than 1024"),
        ("local", {"nodes": "2"}, "'launcher': nodes=1 with launcher=local: a run over several nodes takes launcher=slurm"),
        ("serial", {"nodes": "2"}, "'launcher': nodes=1 with launcher=serial: a run over several nodes takes launcher=slurm"),
    ],
)
def test_a_number_that_makes_no_sense_gets_one_line(
    tmp_path: Path, launcher: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        launch(arguments(tmp_path, f"launcher={launcher}", *(f"launcher.{key}={value}" for key, value in options.items())))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_local_processes_are_pinned_share_the_runs_and_write_the_results(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert launch(arguments(tmp_path, "launcher=local", "launcher.jobs=2")) == []
    said = capfd.readouterr().out
    assert archived_variants(tmp_path) == ["fixup", "fixup", "idinit", "idinit"]
    assert "1| " in said and "2| " in said
    begun = [line for line in said.splitlines() if "  0/2  " in line]
    assert len(begun) == 4, "each run is begun once"
    assert (tmp_path / "results" / "demo" / "README.md").exists()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_each_local_process_stays_on_its_cores(tmp_path: Path) -> None:
    words = arguments(tmp_path, "launcher=local", "launcher.jobs=2", "train.epochs=400")
    sweep = subprocess.Popen(
        [sys.executable, ROOT / "scripts" / "sweep.py", *words],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
    )  # fmt: skip
    bound: list[set[int]] = []
    children: list[int] = []
    deadline = time.monotonic() + 60
    while (len(bound) < 2 or bound[0] & bound[1]) and time.monotonic() < deadline:  # they are pinned a moment after they start
        time.sleep(0.2)
        children = [int(pid) for pid in Path(f"/proc/{sweep.pid}/task/{sweep.pid}/children").read_text().split()]
        bound = [os.sched_getaffinity(pid) for pid in children]
    sweep.send_signal(signal.SIGTERM)
    errors = sweep.communicate(timeout=60)[1]
    assert len(bound) == 2 and not bound[0] & bound[1]
    assert sweep.returncode == 75 and "run the same command again" in errors
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_a_variant_that_cannot_be_built_is_told_by_one_of_several_processes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="demo has variants that could not be trained"):
        launch(arguments(tmp_path, "launcher=local", "launcher.jobs=2", "init=t_fixup,idinit"))
    assert "t_fixup was not trained: " in capfd.readouterr().out
    assert archived_variants(tmp_path) == ["idinit", "idinit"]


@pytest.mark.skipif(len(cores()) < 2, reason="needs two cores")
def test_the_number_of_jobs_is_measured_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("idinit_suite.experiments.concurrency._SECONDS", 0.3)
    words = arguments(tmp_path, "launcher=local", "init=t_fixup,idinit", "impl.threads=null")
    with pytest.raises(UsageError, match="t_fixup was not trained|could not be trained"):
        launch(words)
    said = capfd.readouterr().out
    assert "launcher.jobs=auto: measuring" in said and archived_variants(tmp_path) == ["idinit", "idinit"]
    (speeds,) = json.loads((tmp_path / "runs" / ".concurrency.json").read_text()).values()
    assert len(speeds) == 2 and min(speeds) > 0
    assert f"launcher.jobs={2 if speeds[1] > speeds[0] else 1}: " in said
    launch([word for word in words if "init=" not in word] + ["init=idinit,zero"])
    assert "measuring" not in capfd.readouterr().out


def test_runs_of_one_thread_are_as_many_as_cores(tmp_path: Path) -> None:
    runs = missing_runs(load_experiment(arguments(tmp_path, "init=idinit,fixup,zero", "seed=range(40)")))
    assert choose_jobs(runs) == len(cores())
    assert choose_jobs(runs[:1]) == 1
