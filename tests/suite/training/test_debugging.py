"""The presets of ``configs/debug`` do what they are for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from digits_runs import digits_run

from idinit_suite.config import CONFIG_DIR, RunConfig
from idinit_suite.training.run_folder import read_metrics
from idinit_suite.training.trainer import train

TINY = ["model.width=8"]


def config(folder: Path, *overrides: str) -> RunConfig:
    return digits_run(TINY, folder, *overrides)


def test_overfit_learns_one_batch_by_heart(tmp_path: Path) -> None:
    run = config(tmp_path, "debug=overfit", "data.crop=0", "optim=adam", "optim.lr=0.01")
    assert (run.experiment, run.data["train_limit"]) == ("debug", 16)
    assert train(run)["state"] == "done"
    losses = [row["loss"] for row in read_metrics(run.folder / "metrics.jsonl") if row["split"] == "train"]
    assert losses[0] > 1 and losses[-1] < 0.1


def test_profile_writes_a_trace_and_prints_operators(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = config(tmp_path, "debug=profile")
    assert train(run)["state"] == "done"
    assert "aten::convolution_backward" in capsys.readouterr().out
    assert json.loads((run.folder / "profile.json").read_text())["traceEvents"]


def test_anomaly_stops_where_a_gradient_becomes_nan(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="returned nan values"):
        train(config(tmp_path, "debug=anomaly", "init=kaiming", "optim.lr=1e30", "schedule=constant"))


@pytest.mark.parametrize("name", sorted(file.stem for file in (CONFIG_DIR / "debug").glob("*.yaml")))
def test_a_preset_changes_the_run_only_as_it_says(name: str, tmp_path: Path) -> None:
    plain, debugged = config(tmp_path), config(tmp_path, f"debug={name}")
    assert debugged.experiment == "debug" and plain.experiment == "adhoc"
    assert (debugged.model, debugged.init, debugged.optim) == (plain.model, plain.init, plain.optim)
