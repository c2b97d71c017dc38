"""Run folders as the trainer writes them, with curves made up to order."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from idinit_suite.config.experiment import ClaimInfo, ExperimentInfo

ENVIRONMENT: dict[str, Any] = {
    "python": "3.11.9",
    "torch": "2.14.1",
    "hardware": {"cpu": "Some CPU", "cores": 2, "threads": 2, "gpu": None},
    "commit": "0123abc",
    "data_source": "CIFAR-10 (JPEG copy)",
    "data_checksum": "feed",
    "precision": "bf16",
    "cache": "/home/someone/cache",
}


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Writes a run folder and returns it: ``make_run("idinit", validation=[0.1, 0.4, 0.6], ...)``.

    ``validation`` and ``test`` hold an accuracy for each evaluation: before training and after each epoch; ``test`` is
    like ``validation`` if left out. A run of a ``language`` model has no test split. A state of ``diverged`` cuts the run in
    the middle of the epoch after the last.
    """

    def make(
        variant: str,
        validation: list[float],
        test: list[float] | None = None,
        *,
        seed: int = 0,
        state: str = "done",
        lr: float = 0.1,
        phase: str = "main",
        budget: str = "cpu",
        epochs: float | None = None,
        train_rows: int = 4,
        per_epoch: int = 100,
        time_s: float = 120.0,
        environment: dict[str, Any] | None = None,
        runs: Path | None = None,
        optim: dict[str, Any] | None = None,
        train: dict[str, Any] | None = None,
        language: bool = False,
        model: str = "resnet",
        data: str = ENVIRONMENT["data_source"],
    ) -> Path:
        test = validation if test is None else test
        passed = len(validation) - 1
        planned = passed if epochs is None else epochs
        config = {
            "experiment": "cifar10-resnet56",
            "arm": variant,
            "phase": phase,
            "seed": seed,
            "model": {"name": model, "depth": 56, "norm": "none"},
            "data": {"name": "corpus"} if language else {"name": "cifar10", "validation": 5000},
            "init": {"name": variant.split("-")[0]},
            "optim": {"name": "sgd", "lr": lr, **(optim or {})},
            "schedule": {"name": "linear"},
            "train": {"epochs": planned, **(train or {})},
            "budget": budget,
            "impl": {"compile": True},
            "wandb": {"mode": "disabled"},
            "paths": {"data": "/home/someone/data", "runs": "runs", "results": "results"},
        }
        hashed = {k: v for k, v in config.items() if k not in ("impl", "wandb", "paths", "budget", "arm")}
        run = hashlib.sha256(json.dumps([variant, hashed], sort_keys=True).encode()).hexdigest()[:8]
        rows = _rows(validation, test, state, lr, train_rows, per_epoch)
        rows = [row for row in rows if not language or row["split"] != "test"]
        last = {row["split"]: row for row in rows}
        status = {
            "state": state,
            "hash": run,
            "step": rows[-1]["step"],
            "steps": int(planned * per_epoch),
            "epoch": rows[-1]["epoch"],
            "time_s": time_s,
            "tokens": 4096 * rows[-1]["step"] if language else None,
            "flops": 9.2e10 * rows[-1]["step"],
            "final": last,
            "error": None,
            "reason": None,
        }
        folder = (runs or tmp_path / "runs") / f"{variant}-s{seed}-{run}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        (folder / "env.json").write_text(json.dumps(environment or ENVIRONMENT | {"data_source": data}))
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / "status.json").write_text(json.dumps(status))
        return folder

    return make


def _rows(
    validation: list[float], test: list[float], state: str, lr: float, train_rows: int, per_epoch: int
) -> list[dict[str, Any]]:
    def row(step: int, split: str, accuracy: float, loss: float | None) -> dict[str, Any]:
        speed = 600.0 + step if split == "train" else None
        values = {"step": step, "epoch": step / per_epoch, "split": split, "loss": loss, "accuracy": accuracy}
        return values | {"lr": lr, "samples_per_s": speed}

    rows = []
    for epoch, (on_validation, on_test) in enumerate(zip(validation, test, strict=True)):
        for i in range(train_rows if epoch else 0):
            step = round(per_epoch * (epoch - 1 + (i + 1) / train_rows))
            share = (i + 1) / train_rows
            accuracy = (1 - share) * validation[epoch - 1] + share * on_validation
            rows.append(row(step, "train", accuracy, 2.3 - 2 * accuracy))
        for split, accuracy in (("validation", on_validation), ("test", on_test)):
            rows.append(row(epoch * per_epoch, split, accuracy, -math.log(max(accuracy, 1e-3))))
    if state == "diverged":
        rows.append(row((len(validation) - 1) * per_epoch + per_epoch // 2, "train", 0.1, None))
    return rows


@pytest.fixture
def info() -> ExperimentInfo:
    """The head of an experiment with two claims and two deviations."""
    return ExperimentInfo(
        name="cifar10-resnet56",
        title="ResNet-56 without BatchNorm on CIFAR-10",
        command="make cifar10-resnet56 BUDGET=cpu",
        claims=(
            ClaimInfo(id="C1", short="trains", text="Xavier fails", setting="ResNet-56", paper="-", figure="none", tag="text"),
            ClaimInfo(
                id="C2", short="fast", text="first to 80 %", setting="ResNet-56", paper="first", figure="1", tag="review? 3/5"
            ),
        ),
        deviations=("The recipe is ours.", "Three epochs."),
        cost="an hour on 2 cores",
    )
