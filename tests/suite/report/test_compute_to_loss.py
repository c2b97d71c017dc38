"""Language models: their loss, and how much compute an initializer saves on the way to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from idinit_suite.archive.runs import load, merge
from idinit_suite.archive.variants import Arm, arms, scales
from idinit_suite.config.experiment import ExperimentInfo
from idinit_suite.report.compute_to_loss import compute_table, needed, saved, steps_to
from idinit_suite.report.tables import markdown
from idinit_suite.report.update import update_results
from idinit_suite.report.verdicts import judge

Make = Callable[..., Path]


def test_the_loss_between_two_evaluations_lies_on_a_line() -> None:
    steps, losses = [0, 100, 200, 300], [7.0, 5.0, 4.0, 4.5]
    assert steps_to(steps, losses, 7.0) == 0
    assert steps_to(steps, losses, 6.0) == 50
    assert steps_to(steps, losses, 4.25) == 175
    assert steps_to(steps, losses, 4.0) == 200
    assert math.isnan(steps_to(steps, losses, 3.9))


def found(runs: list[Path], folder: Path) -> dict[str, Arm]:
    merge(runs, folder)
    archive = load(folder)
    (scale,) = scales(archive)
    return {arm.name: arm for arm in arms(archive, scale)}


def language(make: Make, budget: str = "cpu", **finals: list[list[float]]) -> list[Path]:
    """Runs with these validation accuracies, a list a seed; their losses are minus the logarithms."""
    return [
        make(arm, accuracies, seed=seed, budget=budget, language=True)
        for arm, seeds in finals.items()
        for seed, accuracies in enumerate(seeds)
    ]


def test_what_is_needed_of_the_baselines_steps_is_paired_by_seed(make_run: Make, tmp_path: Path) -> None:
    e = math.exp
    rows = found(
        language(
            make_run,
            default=[[e(-6), e(-5.5), e(-5)], [e(-6), e(-5.5), e(-4)]],
            idinit=[[e(-6), e(-4), e(-3)], [e(-6), e(-5), e(-3.5)]],
        ),
        tmp_path / "r",
    )
    # seed 0: from 6 to 4 in an epoch, so 5 after half of one of two; seed 1: from 5 to 3.5, so 4 after 1 + 2/3
    shares = needed(rows["idinit"], rows["default"])
    assert shares == {0: pytest.approx(1 / 4, rel=1e-4), 1: pytest.approx(5 / 6, rel=1e-4)}
    assert saved(shares).mean == pytest.approx(1 - 13 / 24, rel=1e-4)
    assert needed(rows["default"], rows["default"]) == {0: pytest.approx(1.0), 1: pytest.approx(1.0)}


def test_the_tables_tell_losses_and_work(make_run: Make, tmp_path: Path) -> None:
    rows = found(language(make_run, default=[[0.01, 0.02]], idinit=[[0.01, 0.05]], xavier=[[0.01, 0.015]]), tmp_path / "r")
    assert markdown(list(rows.values()), tuned=False).splitlines() == [
        "| initializer | runs (diverged) | learning rate | validation loss, last step | guessed right | tokens | FLOPs "
        "| time |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| idinit | 1 | 0.1 | 2.996 (n = 1) | 5.0 (n = 1) | 410 k | 9.2 T | 2 min |",
        "| default | 1 | 0.1 | 3.912 (n = 1) | 2.0 (n = 1) | 410 k | 9.2 T | 2 min |",
        "| xavier | 1 | 0.1 | 4.200 (n = 1) | 1.5 (n = 1) | 410 k | 9.2 T | 2 min |",
    ]
    # ln 2 / ln 5 = 0.4307 of the way
    assert compute_table(list(rows.values()), "default").splitlines()[2:] == [
        "| idinit | 1 of 1 | 43.1 | 176 k | 3.96 T | 56.9 (n = 1) |",
        "| default | 1 of 1 | 100 | 410 k | 9.2 T | – |",
        "| xavier | 0 of 1 | – | – | – | – |",
    ]


@pytest.mark.parametrize(
    ("idinit", "outcome"),
    [
        ([[0.01, 0.05], [0.01, 0.03]], "reproduced"),
        ([[0.01, 0.05], [0.01, 0.015]], "partly"),
        ([[0.01, 0.015], [0.01, 0.015]], "not reproduced"),
    ],
)
def test_c9_wants_less_compute_in_every_seed(make_run: Make, tmp_path: Path, idinit: list[list[float]], outcome: str) -> None:
    for budget, expected in (("paper", outcome), ("cpu", "not run at this scale")):
        folder = tmp_path / budget
        merge(language(make_run, budget, default=[[0.01, 0.02], [0.01, 0.02]], idinit=idinit), folder)
        archive = load(folder)
        (scale,) = scales(archive)
        verdict = judge("C9", scale, arms(archive, scale))
        assert verdict.outcome == expected
        assert "default at 3.912 ± 0.000" in verdict.evidence and "nan" not in verdict.evidence


def test_a_page_of_a_language_model(make_run: Make, info: ExperimentInfo, tmp_path: Path) -> None:
    runs = language(make_run, default=[[0.01, 0.02]], idinit=[[0.01, 0.05]])
    head = info.model_copy(update={"claims": (), "baseline": "default"})
    update_results(head, runs, tmp_path / "r")
    page = (tmp_path / "r" / "README.md").read_text()
    assert "### Compute to the final loss of default" in page
    assert "Train loss and validation loss of each arm" in page and "test accuracy" not in page
    assert (tmp_path / "r" / "curves.png").stat().st_size > 10_000
