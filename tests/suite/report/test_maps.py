from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.image
import pytest

from idinit_suite.archive.recipe_grid import maps
from idinit_suite.archive.runs import load, merge
from idinit_suite.archive.variants import Variant, list_variants, scales
from idinit_suite.config.experiment import ExperimentInfo
from idinit_suite.report.heat_maps import draw_maps
from idinit_suite.report.update import update_results

POINTS = [(lr, decay) for lr in (0.1, 0.3, 1.0) for decay in (0.0, 1e-3)]


@pytest.fixture
def grid_of_runs(make_run: Callable[..., Path]) -> list[Path]:
    """Two variants over three rates and two decays: idinit trains everywhere, kaiming at the first rate only."""
    finals = {"idinit": [0.3, 0.4, 0.5, 0.6, 0.3, 0.2], "kaiming": [0.55, 0.5, 0.12, 0.1, None, None]}
    return [
        make_run(
            variant, [0.1, value or 0.1], state="done" if value else "diverged", epochs=1, lr=lr, optim={"weight_decay": decay}
        )
        for variant, values in finals.items()
        for value, (lr, decay) in zip(values, POINTS, strict=True)
    ]


def variants_of(runs: list[Path], results: Path) -> list[Variant]:
    merge(runs, results)
    archive = load(results)
    return list_variants(archive, scales(archive)[0])


def test_a_grid_is_a_map_of_each_variant(grid_of_runs: list[Path], tmp_path: Path) -> None:
    found = maps(variants_of(grid_of_runs, tmp_path / "r"))
    assert list(found) == ["idinit", "kaiming"]
    one = found["idinit"]
    assert (one.keys, one.x, one.y) == (("optim.lr", "optim.weight_decay"), (0.1, 0.3, 1.0), (0.0, 0.001))
    assert {point: variant.validation.mean for point, variant in one.cells.items()} == {
        (0.1, 0.0): 0.3, (0.1, 0.001): 0.4, (0.3, 0.0): 0.5, (0.3, 0.001): 0.6, (1.0, 0.0): 0.3, (1.0, 0.001): 0.2,
    }  # fmt: skip
    assert (one.trains, found["kaiming"].trains) == (6, 2)


def test_a_map_of_which_every_run_diverged_is_drawn(make_run: Callable[..., Path], tmp_path: Path) -> None:
    points = [(lr, decay) for lr in (0.1, 0.3) for decay in (0.0, 1e-3)]
    runs = [make_run("kaiming", [0.1], state="diverged", lr=lr, optim={"weight_decay": decay}) for lr, decay in points]
    draw_maps("all lost", maps(variants_of(runs, tmp_path / "r")))


def test_an_incomplete_grid_is_no_map_of_that_variant(grid_of_runs: list[Path], tmp_path: Path) -> None:
    assert list(maps(variants_of(grid_of_runs[1:], tmp_path / "r"))) == ["kaiming"]


def test_runs_that_differ_in_one_key_are_no_map(make_run: Callable[..., Path], tmp_path: Path) -> None:
    assert maps(variants_of([make_run("idinit", [0.1, 0.5], lr=lr) for lr in (0.1, 0.3)], tmp_path / "r")) == {}


def test_a_sweep_over_words_is_no_map(make_run: Callable[..., Path], info: ExperimentInfo, tmp_path: Path) -> None:
    points = [(lr, decayed) for lr in (0.1, 0.3) for decayed in ("all", "weights")]
    runs = [make_run("idinit", [0.1, 0.5], lr=lr, optim={"decay": decayed}) for lr, decayed in points]
    assert maps(variants_of(runs, tmp_path / "r")) == {}
    update_results(info, runs, tmp_path / "r")
    assert "idinit (optim.decay=weights)" in (tmp_path / "r" / "README.md").read_text()


def test_the_page_shows_best_recipe_shared_recipe_and_the_map(
    grid_of_runs: list[Path], info: ExperimentInfo, tmp_path: Path
) -> None:
    results = tmp_path / "r"
    update_results(info, grid_of_runs, results)
    text = (results / "README.md").read_text()
    best = text[text.index("Each variant with its best recipe") : text.index("### Against idinit")]
    assert "| idinit | 1 | 0.3 | 60.0 (n = 1)" in best and "| kaiming | 1 | 0.1 | 55.0 (n = 1)" in best
    shared = text[text.index("### One recipe for all") : text.index("### All recipes")]
    # of the averages over both variants 42.5, 45, 31, 35, 15 and 10 %, the second is the highest
    assert ": optim.lr=0.1, optim.weight_decay=0.001." in shared
    assert "| 40.0 (n = 1)" in shared and "| 50.0 (n = 1)" in shared and "| 60.0 (n = 1)" not in shared
    cells = text[text.index("### All recipes") :]
    assert "**kaiming**: 2 of 6 recipes train" in cells
    assert "| weight decay 0.001 | 50.0 | 10.0 | diverged |" in cells
    assert "![Heat maps" in text and "(map.png)" in text
    assert matplotlib.image.imread(results / "map.png").shape[1] == 2 * 592  # two maps side by side
    assert "kaiming: 2 of 6 train" in (results / "map.svg").read_text()


def test_a_recipe_of_one_variant_is_none_for_all(make_run: Callable[..., Path], info: ExperimentInfo, tmp_path: Path) -> None:
    runs = [make_run(variant, [0.1, 0.5], lr=lr) for variant, lr in (("idinit", 0.1), ("kaiming", 0.3))]
    update_results(info, runs, tmp_path / "r")
    assert "One recipe for all" not in (tmp_path / "r" / "README.md").read_text()
