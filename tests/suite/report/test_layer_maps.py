"""Layers on the way from a real training to the archive, and from there alone to the pages."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idinit_suite.archive.layers import STATISTICS, STEPS, from_table, measurements, to_table
from idinit_suite.archive.runs import load, merge
from idinit_suite.commands import main
from idinit_suite.config import RunConfig
from idinit_suite.config.experiment import ExperimentInfo
from idinit_suite.experiments.grid import load_experiment
from idinit_suite.experiments.runner import run as sweep
from idinit_suite.report.grid_page import grid_page
from idinit_suite.report.html.render import report_page
from idinit_suite.report.layers import draw_layers
from idinit_suite.report.update import update_results
from idinit_suite.training.run_folder import read_metrics

TINY = ["model=resnet", "model.depth=8", "data.batch_size=16", "data.train_limit=48", "impl.threads=1", "train.epochs=2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[RunConfig], ExperimentInfo]:
    """The folder of two runs that measured their layers, one of them diverged, beside their archive."""
    folder = tmp_path_factory.mktemp("made")
    places = [f"paths.{place}={folder}/{place}" for place in ("data", "runs", "results")]
    grid = load_experiment(
        ["experiment=demo", "budget=smoke", "init=kaiming,idinit", "optim.lr=100", "diagnostics.every=2", *TINY, *places]
    )
    assert sweep(grid) == []
    return folder, grid.main_runs({}), grid.info


def measured_in(folder: Path) -> list[Mapping[str, Any]]:
    return measurements(read_metrics(folder / "metrics.jsonl"))


def archived(results: Path, run: str) -> list[Mapping[str, Any]]:
    table = load(results).layers
    return from_table(table[table["hash"] == run])


def test_the_archive_has_every_layer_of_a_run_in_three_digits(
    trained: tuple[Path, list[RunConfig], ExperimentInfo],
) -> None:
    folder, configs, _ = trained
    for config in configs:
        expected, found = measured_in(config.folder), archived(folder / "results" / "demo", config.hash)
        assert [row["step"] for row in found] == [row["step"] for row in expected] and len(found) > 1
        for one, other in zip(expected, found, strict=True):
            for statistic in STATISTICS:
                assert list(one[statistic]) == list(other[statistic]), "in the order of the forward pass"
                for value, kept in zip(one[statistic].values(), other[statistic].values(), strict=True):
                    assert kept is value is None or kept == pytest.approx(value, rel=5e-3)


def test_page_and_figures_are_made_again_from_the_archive_alone(
    trained: tuple[Path, list[RunConfig], ExperimentInfo], tmp_path: Path
) -> None:
    folder, _, info = trained
    made = folder / "results" / "demo"
    alone = tmp_path / "demo"
    alone.mkdir()
    for file in [*made.glob("*.csv"), *made.glob("*.json")]:
        shutil.copy(file, alone)
    update_results(info, [], alone)
    names = ["README.md", *(f"layers-{name}.{ending}" for name in ("kaiming", "idinit") for ending in ("svg", "png"))]
    assert [name for name in names if (alone / name).read_bytes() != (made / name).read_bytes()] == []
    assert "`layers.csv`" in (alone / "README.md").read_text()


def test_the_report_shows_the_layers_of_a_chosen_run_in_a_fold(
    trained: tuple[Path, list[RunConfig], ExperimentInfo],
) -> None:
    folder, configs, info = trained
    results = folder / "results"
    html = report_page([grid_page(info, load(results / "demo"), results / "demo")], results)
    (fold,) = re.findall(r"<details><summary>Layers of .*?</details>", html, re.DOTALL)
    (packed,) = re.findall(r'id="data">(.*?)<', html)
    shown = json.loads(gzip.decompress(base64.b64decode(packed)))["sections"]["demo"]["layers"]
    assert set(re.findall(r'data-kind="layers" data-name="(.*?)"', fold)) == shown.keys() and len(shown) == len(configs)
    states = set()
    for config in configs:
        state = json.loads((config.folder / "status.json").read_text())["state"]
        states.add(state)
        found, rows = shown[f"layers-{config.arm}"], archived(results / "demo", config.hash)
        assert found["title"] == f"{config.arm}, seed 0, {state}" and found["steps"] == [row["step"] for row in rows]
        for statistic, drawn in found["maps"].items():
            assert drawn["layers"] == {layer: [row[statistic][layer] for row in rows] for layer in rows[0][statistic]}
    assert states == {"done", "diverged"}


def test_the_map_of_a_statistic_has_the_values_of_its_layers(
    trained: tuple[Path, list[RunConfig], ExperimentInfo],
) -> None:
    folder, configs, _ = trained
    for config in configs:
        rows = archived(folder / "results" / "demo", config.hash)
        images = [axes.images[0] for axes in draw_layers("a run", rows).axes[: len(STATISTICS)]]
        for statistic, image in zip(STATISTICS, images, strict=True):
            expected = np.array([list(row[statistic].values()) for row in rows], dtype=float).T
            drawn = np.ma.filled(image.get_array(), np.nan)
            np.testing.assert_array_equal(np.where(drawn < image.norm.vmin, 0, drawn), expected)


def test_the_command_shows_the_layers_of_a_run_whose_folder_is_gone(
    trained: tuple[Path, list[RunConfig], ExperimentInfo], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, configs, _ = trained
    config = configs[0]
    main(["layers", config.hash, "--in", str(tmp_path), "--results", str(folder / "results")])
    begins = {line.partition(" ")[0] for line in capsys.readouterr().out.splitlines()}
    assert begins >= measured_in(config.folder)[0]["weight_norm"].keys()


def row(step: int, **norms: float | None) -> dict[str, Any]:
    return {"step": step, "split": "layers", "weight_norm": norms, "gradient_norm": norms, "branch_ratio": {}, "dead_units": {}}


def test_of_many_steps_the_first_the_last_and_some_between_are_kept() -> None:
    kept = from_table(to_table("0a1b2c3d", [row(step, a=step + 0.1) for step in range(100)]))
    steps = [one["step"] for one in kept]
    assert len(steps) == STEPS and (steps[0], steps[-1]) == (0, 99)
    assert {b - a for a, b in zip(steps, steps[1:], strict=False)} <= {4, 5}


def test_what_is_not_finite_is_told_from_what_a_layer_does_not_have() -> None:
    (found,) = from_table(to_table("0a1b2c3d", [row(0, a=0.0, b=None)]))
    assert found["weight_norm"] == {"a": 0.0, "b": None} and found["branch_ratio"] == {}


def with_layers(run: Path, *rows: dict[str, Any]) -> Path:
    with (run / "metrics.jsonl").open("a") as file:
        file.writelines(json.dumps(one) + "\n" for one in rows)
    return run


def test_an_archive_without_layers_has_no_file_and_no_word_of_them(
    make_run: Callable[..., Path], info: ExperimentInfo, tmp_path: Path
) -> None:
    runs = [with_layers(make_run("idinit", [0.1, 0.5]), row(0, a=1.0)), make_run("fixup", [0.1, 0.4])]
    update_results(info, runs[1:], tmp_path / "without")
    merge(runs, tmp_path / "with")
    assert (tmp_path / "with" / "layers.csv").exists()
    merge([make_run("idinit", [0.1, 0.5], time_s=99.0)], tmp_path / "with")  # trained again, not measured
    for name in ("with", "without"):
        assert not (tmp_path / name / "layers.csv").exists()
    assert "ayers" not in (tmp_path / "without" / "README.md").read_text()


def test_of_each_variant_the_run_of_the_lowest_seed_that_was_measured_is_shown(
    make_run: Callable[..., Path], info: ExperimentInfo, tmp_path: Path
) -> None:
    runs = [make_run("idinit", [0.1, 0.5], seed=seed) for seed in range(3)]
    merge([runs[0], *(with_layers(run, row(0, a=1.0)) for run in runs[:0:-1])], tmp_path / "r")
    (section,) = grid_page(info, load(tmp_path / "r"), tmp_path / "r").sections
    assert section.blocks[-1].summary == "Layers of idinit, seed 1, done"
