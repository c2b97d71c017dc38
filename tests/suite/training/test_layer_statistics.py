"""Statistics of layers: values that can be computed by hand, where they go, and that nobody else sees them."""

from __future__ import annotations

import math
import threading
from functools import partial
from pathlib import Path

import pytest
import torch
from digits_runs import digits_run
from torch.nn import functional as F

from idinit.errors import UsageError
from idinit_suite.archive.layers import measurements
from idinit_suite.archive.run_record import read_run
from idinit_suite.commands import main
from idinit_suite.config import RunConfig, check, compose
from idinit_suite.data import DataContext
from idinit_suite.report.layers import draw_layers, layer_table
from idinit_suite.tracking.wandb_follower import complete_steps
from idinit_suite.training.build import build, load_data
from idinit_suite.training.layers import LayerStatistics
from idinit_suite.training.run_folder import read_metrics
from idinit_suite.training.trainer import Training, train

CPU = torch.device("cpu")
SMALL = ["model.width=4", "data.train_limit=48"]


def config(folder: Path, *overrides: str) -> RunConfig:
    return digits_run(SMALL, folder, *overrides)


def measured(run: RunConfig) -> dict[str, dict[str, float]]:
    data = load_data(run, DataContext(run.paths.data, run.seed))
    return LayerStatistics(run, data, CPU)(build(run, data)[0])


def test_a_zero_branch_end_is_silent_and_leaves_the_weights_before_it_without_gradient(tmp_path: Path) -> None:
    found = measured(config(tmp_path, "model.norm=none", "init=skipinit"))
    inner, end = "stage1.0.branch.conv1.weight", "stage1.0.branch.conv2.weight"
    assert found["branch_ratio"][end] == 0
    assert found["dead_units"][inner] == found["dead_units"][end] == 1 and found["dead_units"]["head.weight"] == 0
    assert found["gradient_norm"][inner] == 0 and found["gradient_norm"]["head.weight"] > 0


def test_norms_are_those_of_the_weights_and_of_the_gradient_of_the_loss(tmp_path: Path) -> None:
    run = config(tmp_path, "model.norm=none", "init=kaiming")
    data = load_data(run, DataContext(run.paths.data, run.seed))
    network, _ = build(run, data)
    images, labels = next(iter(data.evaluation_batches("validation" if "validation" in data.splits else "train")))
    found = LayerStatistics(run, data, CPU)(network)
    F.cross_entropy(network(*images), labels).backward()
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:
            assert found["weight_norm"][name] == pytest.approx(parameter.norm().item(), rel=1e-5)
            assert parameter.grad is not None
            assert found["gradient_norm"][name] == pytest.approx(parameter.grad.norm().item(), rel=1e-3)
    assert list(found["weight_norm"])[0] == "stem.weight" and list(found["weight_norm"])[-1] == "head.weight"


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=textrnn", "data=opinions", "data.batch_size=16"],
        ["model=text_transformer", "data=opinions", "data.batch_size=16"],
    ],
    ids=["recurrent", "transformer"],
)
def test_networks_of_other_kinds_are_measured(overrides: list[str], tmp_path: Path) -> None:
    places = [f"paths.{place}={tmp_path}/{place}" for place in ("data", "runs")]
    found = measured(check(compose([*overrides, *places, "init=xavier"])))
    assert len(found["weight_norm"]) > 2 and all(norm > 0 for norm in found["gradient_norm"].values())
    assert not any("embedding" in name for name in found["dead_units"])


@pytest.fixture(scope="module")
def diverged(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    run = config(
        tmp_path_factory.mktemp("layers"),
        "model.norm=none",
        "init=kaiming",
        "optim.lr=1000",
        "train.epochs=4",
        "diagnostics.every=2",
    )
    assert train(run)["state"] == "diverged"
    return run


@pytest.mark.parametrize("compiled", [False, True])
def test_a_run_that_breaks_off_has_the_same_rows_in_the_end(
    compiled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    common = ["train.epochs=3", "diagnostics.every=2", "impl.checkpoint_every=3", f"train.compile={compiled}"]
    whole, broken = (config(tmp_path / name, "model.norm=batch", *common) for name in ("whole", "broken"))
    assert train(whole)["state"] == "done"
    update = Training.update

    def fails(training: Training) -> None:
        if training.step == 5:
            raise KeyboardInterrupt
        update(training)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Training, "update", fails)
        train(broken)
    assert train(broken)["state"] == "done"
    expected, found = (measurements(read_metrics(run.folder / "metrics.jsonl")) for run in (whole, broken))
    assert [row["step"] for row in expected] == [0, 2, 4, 6, 8, 9] and found == expected


def test_a_diverged_run_tells_of_its_last_finite_weights(diverged: RunConfig) -> None:
    rows = measurements(read_metrics(diverged.folder / "metrics.jsonl"))
    assert rows[0]["step"] == 0 and rows[-1]["weight_norm"]["head.weight"] > 100 * rows[0]["weight_norm"]["head.weight"]
    assert all(math.isfinite(norm) for norm in rows[-1]["weight_norm"].values())


def test_curves_and_the_status_know_nothing_of_layers(diverged: RunConfig) -> None:
    record = read_run(diverged.folder)
    assert record is not None
    assert (
        set(record.tables["curves"]["split"]) <= {"train", "validation", "test"} and "diagnostics" not in record.row["config"]
    )
    assert '"layers"' not in (diverged.folder / "status.json").read_text()


def test_the_mirror_has_a_curve_for_each_layer_in_a_section_for_each_statistic(diverged: RunConfig) -> None:
    ended = threading.Event()
    ended.set()
    step, metrics = next(complete_steps(diverged.folder, ended))
    (row, *_) = measurements(read_metrics(diverged.folder / "metrics.jsonl"))
    assert step == 0 and metrics["gradient_norm/head.weight"] == row["gradient_norm"]["head.weight"]
    assert not any(isinstance(value, dict) for value in metrics.values())


def test_the_command_prints_a_line_for_each_layer_and_draws(diverged: RunConfig, capsys: pytest.CaptureFixture[str]) -> None:
    main(["layers", str(diverged.folder)])
    printed = capsys.readouterr().out
    rows = measurements(read_metrics(diverged.folder / "metrics.jsonl"))
    assert all(any(line.startswith(name) for line in printed.splitlines()) for name in rows[0]["weight_norm"])
    assert (diverged.folder / "layers.png").exists() and (diverged.folder / "layers.svg").exists()


def test_a_run_whose_layers_were_not_measured_says_how_to(tmp_path: Path) -> None:
    run = config(tmp_path, "train.epochs=0.1")
    train(run)
    with pytest.raises(UsageError, match="diagnostics.every=STEPS"):
        main(["layers", str(run.folder)])


def test_values_that_are_zero_missing_or_not_finite_are_drawn_and_said() -> None:
    def row(step: int, ratio: float | None) -> dict[str, object]:
        norms = {"a.weight": 1.0, "b.weight": None if ratio is None else 0.0}
        return {"step": step, "split": "layers", "weight_norm": norms, "gradient_norm": norms} | {
            "branch_ratio": {"b.weight": ratio},
            "dead_units": {},
        }

    rows = measurements([row(0, 0.0), row(5, None)])
    assert layer_table(rows)[1] == ["b.weight", "0 → not finite", "0 → not finite", "0 → not finite", ""]
    axes = draw_layers("a run", rows).axes
    assert len(axes) == 4 + 3  # three with a scale of colours
    image = axes[1].images[0]
    (_, _), (zero, missing) = image.to_rgba(image.get_array(), bytes=True)[..., :3].tolist()
    assert zero == [0xD5, 0x5E, 0x00] and missing == [0xFF, 0xFF, 0xFF]
