"""A sweep that is killed again and again ends with the results of one that was left alone."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[3]
CLOCK = ["time_s", "samples_per_s"]  # what a run took is no property of what it computed


def sweep(arguments: Sequence[str], folder: Path) -> subprocess.Popen[str]:
    places = [f"paths.{place}={folder}/{place}" for place in ("data", "runs", "results")]
    command = [sys.executable, str(ROOT / "scripts" / "sweep.py"), *arguments, "wandb.mode=disabled", *places]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=folder)


def finish(arguments: Sequence[str], folder: Path) -> None:
    """Lets a sweep end by itself."""
    process = sweep(arguments, folder)
    errors = process.communicate(timeout=1800)[1]
    assert process.returncode == 0, errors


def rows(folder: Path) -> int:
    """The number of rows of metrics that a sweep has written."""
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("runs/*/*/metrics.jsonl"))


def kill(arguments: Sequence[str], folder: Path, after: float) -> None:
    """Kills a sweep once it has written more than some rows, at whatever pace the machine has."""
    process = sweep(arguments, folder)
    while process.poll() is None and rows(folder) <= after:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert process.returncode < 0, "the sweep was over before it could be killed"


def assert_same(one: Path, other: Path) -> None:
    """The results are equal byte for byte, but for what the clock says in them."""
    assert sorted(path.name for path in one.iterdir()) == sorted(path.name for path in other.iterdir())
    for name in ("curves.csv", "environments.json", "curves.svg", "curves.png"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    texts = [pd.read_csv(results / "runs.csv", dtype=str).drop(columns=CLOCK).to_csv() for results in (one, other)]
    assert texts[0] == texts[1]
    pages = [
        [
            line.rpartition(" | ")[0] if line.startswith("|") else line
            for line in (results / "README.md").read_text().splitlines()
            if not line.startswith("Forecast for ")
        ]
        for results in (one, other)
    ]
    assert pages[0] == pages[1]


def test_results_of_a_sweep_killed_at_random_moments_are_those_of_one_left_alone(tmp_path: Path) -> None:
    arguments = [
        "experiment=demo", "budget=smoke", "init=idinit,fixup,kaiming", "seed=0,1", "model=resnet", "model.depth=8",
        "launcher=serial", "data.batch_size=16", "data.train_limit=64", "train.epochs=8", "impl.threads=1",
        "impl.checkpoint_every=5", "train.precision=float32",
    ]  # fmt: skip
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    alone.mkdir()
    killed.mkdir()
    finish(arguments, alone)
    moments = random.Random(0)
    for share in (moments.uniform(0.1, 0.5), moments.uniform(0.5, 0.9)):
        kill(arguments, killed, share * rows(alone))
    finish(arguments, killed)
    assert_same(alone / "results" / "demo", killed / "results" / "demo")
