"""Language models: their loss, and how much compute an initializer saves on the way to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from idinit_suite.archive.runs import load, merge
from idinit_suite.archive.variants import Variant, list_variants, scales
from idinit_suite.config.experiment import ExperimentInfo
from idinit_suite.report.compute_to_loss import compute_table, needed, savings, typical
from idinit_suite.report.measured import measured
from idinit_suite.report.table import markdown_table
from idinit_suite.report.tables import results_table
from idinit_suite.report.update import update_results
from idinit_suite.report.verdicts import judge

Make = Callable[..., Path]


def found(runs: list[Path], folder: Path) -> dict[str, Variant]:
    merge(runs, folder)
    archive = load(folder)
    (scale,) = scales(archive)
    return {variant.name: variant for variant in list_variants(archive, scale)}


def language(make: Make, budget: str = "cpu", **finals: list[list[float]]) -> list[Path]:
    """Runs with these validation accuracies, a list a seed; their losses are minus the logarithms."""
    return [
        make(variant, accuracies, seed=seed, budget=budget, language=True)
        for variant, seeds in finals.items()
        for seed, accuracies in enumerate(seeds)
    ]


def test_savings_are_against_the_first_time_that_the_baseline_has_its_own_final_loss(make_run: Make, tmp_path: Path) -> None:
    e = math.exp
    rows = found(
        language(
            make_run,
            default=[[e(-6), e(-5.5), e(-5)], [e(-6), e(-4), e(-5)], [e(-6), e(-5.5), e(-5)]],
            idinit=[[e(-6), e(-4), e(-3)], [e(-6), e(-5), e(-3.5)], [e(-6), e(-5.5), e(-5.4)]],
        ),
        tmp_path / "r",
    )
    mine, other = measured(rows["idinit"]), measured(rows["default"])
    # seed 0: from 6 to 4 in an epoch of 100 steps, so 5 after half of one; seed 1: default is at 5 after half an epoch already
    assert needed(other, other) == {0: pytest.approx(200, rel=1e-4), 1: pytest.approx(50, rel=1e-4), 2: pytest.approx(200)}
    assert needed(mine, other) == {0: pytest.approx(50, rel=1e-4), 1: pytest.approx(100, rel=1e-4), 2: math.inf}
    saved = savings(mine, other)
    assert saved == {0: pytest.approx(3 / 4, rel=1e-4), 1: pytest.approx(-1, rel=1e-3), 2: -math.inf}
    assert typical(saved) == saved[1], "the run that never gets there counts as the worst"
    assert math.isnan(typical({0: 0.5, 1: -math.inf, 2: -math.inf})) and math.isnan(typical({}))
    assert set(savings(other, other).values()) == {0.0}


def test_the_tables_tell_losses_and_work(make_run: Make, tmp_path: Path) -> None:
    finals = {"default": [[0.01, 0.02]] * 3, "idinit": [[0.01, 0.05]] * 3, "xavier": [[0.01, 0.015]] * 3}
    rows = found(language(make_run, **finals), tmp_path / "r")
    assert markdown_table(results_table("", list(rows.values()), tuned=False)).splitlines() == [
        "| initializer | runs (diverged) | learning rate | validation loss, last step | masked-token accuracy | tokens | FLOPs "
        "| time |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| idinit | 3 | 0.1 | 2.996 ± 0.000 | 5.0 ± 0.0 | 410 k | 9.2 T | 2 min |",
        "| default | 3 | 0.1 | 3.912 ± 0.000 | 2.0 ± 0.0 | 410 k | 9.2 T | 2 min |",
        "| xavier | 3 | 0.1 | 4.200 ± 0.000 | 1.5 ± 0.0 | 410 k | 9.2 T | 2 min |",
    ]
    # ln 2 / ln 5 = 0.4307 of the way
    assert markdown_table(compute_table(list(rows.values()), "default")).splitlines()[2:] == [
        "| idinit | 3 of 3 | 43.1 | 176 k | 3.96 T | 56.9 |",
        "| default | 3 of 3 | 100 | 410 k | 9.2 T | – |",
        "| xavier | 0 of 3 | – | – | – | – |",
    ]


def test_two_seeds_are_not_enough_to_tell_what_is_saved(make_run: Make, tmp_path: Path) -> None:
    rows = found(language(make_run, default=[[0.01, 0.02]] * 2, idinit=[[0.01, 0.05]] * 2), tmp_path / "r")
    assert (
        markdown_table(compute_table(list(rows.values()), "default")).splitlines()[2]
        == "| idinit | 2 of 2 | 43.1 | 176 k | 3.96 T | – |"
    )


def test_c9_from_an_archive(make_run: Make, tmp_path: Path) -> None:
    finals = {"default": [[0.01, 0.02]] * 3, "idinit": [[0.01, 0.05], [0.01, 0.055], [0.01, 0.045]]}
    merge(language(make_run, **finals), tmp_path / "r")
    archive = load(tmp_path / "r")
    (scale,) = scales(archive)
    verdict = judge("C9", scale, list_variants(archive, scale))
    assert verdict.outcome == "reproduced" and "in 3 of 3 seeds, with 56.9 % less compute" in verdict.evidence
    assert "default ends at 3.912 ± 0.000" in verdict.evidence and "nan" not in verdict.evidence


def test_a_page_of_a_language_model(make_run: Make, info: ExperimentInfo, tmp_path: Path) -> None:
    runs = language(make_run, default=[[0.01, 0.02]], idinit=[[0.01, 0.05]])
    head = info.model_copy(update={"claims": (), "baseline": "default"})
    update_results(head, runs, tmp_path / "r")
    page = (tmp_path / "r" / "README.md").read_text()
    assert "### Compute to the final loss of default" in page
    assert "Train loss and validation loss of each variant" in page and "test accuracy" not in page
    assert (tmp_path / "r" / "curves.png").stat().st_size > 10_000
