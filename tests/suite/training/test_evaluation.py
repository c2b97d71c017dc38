"""What is measured beside accuracy: five guesses, and averaged weights."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor

from idinit_suite.config import RunConfig, check, compose
from idinit_suite.training import evaluation
from idinit_suite.training import trainer as loop
from idinit_suite.training.compile_cache import CompiledNetworks
from idinit_suite.training.distributed import Team
from idinit_suite.training.run_folder import RunFolder, read_metrics

SMALL = [
    *("model=resnet", "model.depth=8", "model.width=4", "model.norm=batch", "init=default", "data=digits"),
    *("data.batch_size=16", "data.train_limit=48", "train.epochs=2", "train.precision=float32", "impl.threads=1"),
    *("wandb.mode=disabled", "impl.check_every=1"),
]


def training(runs: Path, *overrides: str) -> tuple[loop.Training, RunConfig]:
    run = check(compose([*SMALL, *overrides, f"paths.runs={runs}"]))
    team = Team(0, 1, torch.device("cpu"))
    return loop.Training(run, team, RunFolder(run.folder), CompiledNetworks(), threading.Event()), run


def test_averaged_weights_are_the_exponential_average_of_all_steps(tmp_path: Path) -> None:
    trained, _ = training(tmp_path, "train.ema=0.8")
    learner, expected = trained.learner, dict[str, Tensor]()
    while trained.step < trained.steps:
        trained.update()
        for name, value in learner.network.state_dict().items():
            if value.is_floating_point() and name in expected:
                expected[name] = 0.8 * expected[name] + 0.2 * value
            else:
                expected[name] = value.clone()
    assert learner.average is not None
    found = learner.average.state_dict()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=name)
    assert not torch.equal(found["head.weight"], learner.network.state_dict()["head.weight"])


def test_averaged_weights_are_evaluated_beside_the_others_which_they_leave_alone(tmp_path: Path) -> None:
    (plain, without), (averaged, run) = training(tmp_path), training(tmp_path, "train.ema=0.5")
    for one in (plain, averaged):
        with one.folder:
            one.run()
    rows = {row["split"]: row for row in read_metrics(run.folder / "metrics.jsonl")}  # the last of each
    alone = {row["split"]: row for row in read_metrics(without.folder / "metrics.jsonl")}
    for split in ("validation", "test"):
        assert {"ema_loss", "ema_accuracy"} <= rows[split].keys() and rows[split]["ema_loss"] != rows[split]["loss"]
        assert "ema_loss" not in alone[split] and alone[split]["loss"] == rows[split]["loss"]
    assert "ema_loss" not in rows["train"]
    assert run.hash != without.hash


def test_top5_counts_labels_among_the_five_largest_logits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "top5_accuracy" not in training(tmp_path)[0].evaluate(*2 * [training(tmp_path)[0].learner.network])["test"]
    monkeypatch.setattr(evaluation, "TOP5_FROM", 10)
    trained, _ = training(tmp_path)
    network = trained.learner.network
    found = trained.evaluate(network, network)["test"]
    network.eval()
    right = total = 0
    for inputs, labels in trained.learner.data.evaluation_batches("test"):
        for logits, label in zip(network(*inputs).tolist(), labels.tolist(), strict=True):
            right += sum(other > logits[label] for other in logits) < 5
            total += 1
    assert found["top5_accuracy"] == pytest.approx(right / total)
    assert found["accuracy"] < found["top5_accuracy"] < 1
