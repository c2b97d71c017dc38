"""The rule of each claim."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from measured_variants import variants
from scipy import stats

from idinit_suite.archive.runs import load, merge
from idinit_suite.archive.variants import list_variants, scales
from idinit_suite.report.verdicts import CLAIMS, decide, judge

TRAINS, FAILS = [0.5, 0.52, 0.51], [0.1, None, 0.15]  # no further than chance + 5 points is to fail


@pytest.mark.parametrize(
    ("idinit", "xavier", "kaiming", "outcome"),
    [
        (TRAINS, [None] * 3, FAILS, "reproduced"),
        (TRAINS, FAILS, TRAINS, "partly"),
        (TRAINS, [0.1, 0.5, 0.1], [0.1, None, 0.5], "undecided"),  # some runs fail
        (TRAINS, TRAINS, TRAINS, "not reproduced"),  # nobody fails
        (FAILS, FAILS, FAILS, "not reproduced"),  # everybody fails
        ([0.5, None, 0.5], FAILS, FAILS, "not reproduced"),  # IDInit is not reliable
        ([0.5] * 5, [0.1] * 5, [None] * 5, "reproduced"),  # more runs of the same kind change nothing
    ],
)
def test_c1(idinit: list, xavier: list, kaiming: list, outcome: str) -> None:
    assert decide("C1", variants(idinit=idinit, xavier=xavier, kaiming=kaiming))[0] == outcome


def test_c1_gives_the_numbers() -> None:
    _, evidence, _ = decide("C1", variants(idinit=[0.5, 0.54, 0.52], xavier=[None, 0.3, 0.3], kaiming=[None] * 3))
    assert "idinit trains (52.0 ± 5.0 %)" in evidence  # t(0.975, 2) = 4.303, sd 0.02 over sqrt(3)
    assert "xavier fails in 1 of 3 runs (30.0 %, 1 of 3 diverged)" in evidence
    assert "kaiming fails (all 3 diverged)" in evidence and "15 % test accuracy" in evidence


def curve(epochs: float, end: float = 0.9) -> list[float]:
    """A validation curve of six epochs that crosses 80 % after so many, linearly before."""
    return [0.1 + 0.7 * epoch / epochs if epoch < epochs else end for epoch in range(7)]


FAST, NEXT, SLOW = ([curve(epochs + shift) for shift in (0, 0.05, 0.1)] for epochs in (2.5, 3.4, 5.4))
NOISY = [curve(epochs) for epochs in (2.1, 5.5, 3.0)]
NEVER, MIDDLING = [[0.1, *[0.3] * 6]] * 3, [[0.1, 0.3, 0.5, 0.6, 0.65, 0.71, 0.72]] * 3
AGAINST_C2 = CLAIMS["C2"].info.against


@pytest.mark.parametrize(
    ("idinit", "others", "outcome", "threshold"),
    [
        (FAST, {}, "reproduced", 80),
        (FAST, {"fixup": NEVER, "zero": [None] * 3}, "reproduced", 80),  # censored: later than the last epoch
        (FAST, {"fixup": FAST}, "partly", 80),  # level with one, before the others
        (FAST, {"fixup": NOISY}, "partly", 80),
        (FAST, dict.fromkeys(AGAINST_C2, NOISY), "undecided", 80),  # first in the mean, as anyone must be
        (NEXT, {"fixup": FAST}, "not reproduced", 80),
        (NEVER, {}, "not reproduced", 80),
        ([*FAST[:2], NEVER[0]], {}, "not reproduced", 80),  # censored in one seed in which others get there
        (MIDDLING, dict.fromkeys(AGAINST_C2, NEVER), "reproduced", 70),
        (NEVER, dict.fromkeys(AGAINST_C2, NEVER), "not run at this scale", 60),
    ],
)
def test_c2(idinit: list, others: dict[str, list], outcome: str, threshold: int) -> None:
    found = variants(last=6, idinit=idinit, **(dict.fromkeys(AGAINST_C2, SLOW) | others))
    got, evidence, _ = decide("C2", found)
    assert got == outcome and f"{threshold} % validation accuracy" in evidence


@pytest.mark.parametrize(
    ("idinit", "others", "place"),
    [
        (FAST, {}, "1"),
        (NEXT, {"fixup": FAST}, "2"),
        (NEVER, {"zero": NEVER, "skipinit": NEVER}, "6 to 8"),
        (SLOW, {}, "1 to 8"),
    ],
)
def test_c2_methods_that_are_equally_soon_share_places(idinit: list, others: dict[str, list], place: str) -> None:
    headline = decide("C2", variants(last=6, idinit=idinit, **(dict.fromkeys(AGAINST_C2, SLOW) | others)))[2]
    assert headline is not None and headline.number == f"place {place} of 8"


@pytest.mark.parametrize(
    ("idinit", "kaiming", "fixup", "outcome"),
    [
        ([0.940, 0.941, 0.939], [0.938, 0.939, 0.937], [0.943, 0.943, 0.942], "reproduced"),
        ([0.940, 0.941, 0.939], [0.938, 0.939, 0.937], [0.900, 0.901, 0.902], "partly"),
        ([0.940, 0.941, 0.939], [0.800, 0.802, 0.801], [0.900, 0.901, 0.902], "not reproduced"),
        ([0.86, 0.94, 0.90], [0.93, 0.91, 0.87], [0.90, 0.93, 0.89], "undecided"),  # too noisy to call it a tie
        ([0.94, 0.94, 0.94], [None] * 3, [0.1] * 3, "not reproduced"),
        ([0.1, 0.1, 0.1], [0.1] * 3, [0.1] * 3, "not reproduced"),  # to fail alike is no tie
        ([0.94, None, 0.94], [0.94] * 3, [0.94] * 3, "not reproduced"),
    ],
)
def test_c3(idinit: list, kaiming: list, fixup: list, outcome: str) -> None:
    assert decide("C3", variants(idinit=idinit, kaiming=kaiming, fixup=fixup))[0] == outcome


LOW, MIDDLE, HIGH = [0.80, 0.81, 0.79], [0.85, 0.861, 0.841], [0.90, 0.911, 0.891]


@pytest.mark.parametrize(
    ("neither", "idic", "idizc", "both", "outcome"),
    [
        (LOW, MIDDLE, MIDDLE, HIGH, "reproduced"),
        ([None] * 3, MIDDLE, MIDDLE, HIGH, "reproduced"),  # to diverge is to end at chance
        (LOW, LOW, HIGH, HIGH, "partly"),  # only one of the two helps
        (LOW, MIDDLE, HIGH, MIDDLE, "partly"),
        ([0.70, 0.90, 0.80], [0.95, 0.76, 0.80], [0.72, 0.90, 0.91], [0.91, 0.90, 0.96], "undecided"),  # noise
        (LOW, LOW, LOW, LOW, "not reproduced"),
        (HIGH, MIDDLE, MIDDLE, LOW, "not reproduced"),
        (MIDDLE, HIGH, HIGH, LOW, "not reproduced"),  # together they harm
        (LOW, MIDDLE, MIDDLE, [*HIGH[:2], None], "not reproduced"),
    ],
)
def test_c4(neither: list, idic: list, idizc: list, both: list, outcome: str) -> None:
    assert decide("C4", variants(neither=neither, idic=idic, idizc=idizc, both=both))[0] == outcome


def test_c4_gives_the_gains_with_intervals() -> None:
    finals = {"neither": [0.30, 0.32, 0.31], "idic": [0.4] * 3, "idizc": [0.5] * 3, "both": [0.60, 0.62, 0.64]}
    found = stats.ttest_rel(finals["both"], finals["neither"])
    low, high = (100 * end for end in found.confidence_interval())
    assert (
        f"both over neither +31.0 points ({low:+.1f} to {high:+.1f}), one-sided p = {found.pvalue / 2:.2g}"
        in (decide("C4", variants(**finals))[1])
    )


RECIPES = [(rate, decay) for rate in (0.01, 0.03, 0.1, 0.3) for decay in (0.0, 5e-4)]


@pytest.mark.parametrize(
    ("idinit", "kaiming", "seeds", "outcome"),
    [
        (8, 3, 3, "reproduced"),  # 15 runs of 24 in which only IDInit trains
        (8, 7, 3, "undecided"),  # 3
        (5, 5, 3, "not reproduced"),
        (3, 8, 3, "not reproduced"),
        (8, 0, 2, "not enough runs"),
    ],
)
def test_c5_counts_runs_in_which_only_one_trains(idinit: int, kaiming: int, seeds: int, outcome: str) -> None:
    found = {
        name: {at: variants(x=[0.5 if number < count else None] * seeds)["x"] for number, at in enumerate(RECIPES)}
        for name, count in (("idinit", idinit), ("kaiming", kaiming))
    }
    got, evidence, _ = decide("C5", found)
    assert got == outcome
    if outcome != "not enough runs":
        assert f"idinit trains in {idinit} and is good in {idinit} of 8, kaiming trains in {kaiming}" in evidence


def test_c5_needs_all_points_of_the_grid(make_run: Callable[..., Path], tmp_path: Path) -> None:
    points = [(lr, decay) for lr in (0.1, 0.3) for decay in (0.0, 1e-3)]
    runs = [
        make_run(name, [0.1, 0.5], lr=lr, seed=seed, optim={"weight_decay": decay})
        for name in ("idinit", "kaiming")
        for lr, decay in points
        for seed in range(3)
    ]
    for taken, evidence in ((runs[:-3], "the grid is not complete"), (runs, "3 seeds in common, idinit trains in 4")):
        merge(taken, tmp_path / "r")
        archive = load(tmp_path / "r")
        (scale,) = scales(archive)
        assert evidence in judge("C5", scale, list_variants(archive, scale)).evidence


@pytest.mark.parametrize(
    ("idinit", "others", "outcome"),
    [
        (TRAINS, {"kaiming": FAILS, "xavier": FAILS, "zero": TRAINS}, "reproduced"),
        (TRAINS, {"kaiming": FAILS, "xavier": TRAINS, "zero": TRAINS}, "holds, not distinctive"),
        (TRAINS, {"kaiming": TRAINS}, "holds, not distinctive"),
        (TRAINS, {"idinit_channel": TRAINS, "idinit_bn": TRAINS, "kaiming": FAILS}, "reproduced"),  # no others than itself
        ([0.5, 0.5, 0.1], {"kaiming": FAILS}, "not reproduced"),
        (FAILS, {"kaiming": FAILS}, "not reproduced"),
        (TRAINS, {"kaiming": [0.1]}, "not enough runs"),  # nothing to compare with
    ],
)
def test_c6_says_whether_it_sets_idinit_apart(idinit: list, others: dict[str, list], outcome: str) -> None:
    assert decide("C6", variants(idinit=idinit, **others))[0] == outcome


GOOD, STEADY = [0.80, 0.801, 0.802], [0.60, 0.601, 0.602]
RIVALS = {"default": [0.70, 0.71, 0.73], "kaiming": [0.75, 0.79, 0.71], "xavier": [0.5, 0.9, 0.6], "zero": [None, None, None]}


@pytest.mark.parametrize(
    ("finals", "outcome", "won"),
    [
        ([GOOD, GOOD, GOOD], "reproduced", 6),
        ([GOOD, GOOD, STEADY], "partly", 5),
        ([STEADY, STEADY, STEADY], "undecided", 3),  # the smallest deviation on all: five in a hundred would be by chance
        ([[0.8, 0.85, 0.75], [0.5, 0.6, 0.4], [0.5, 0.6, 0.4]], "not reproduced", 1),
        ([[None] * 3] * 3, "not reproduced", 0),
    ],
)
def test_c7_counts_first_places_against_chance(finals: list[list], outcome: str, won: int) -> None:
    found = {}
    for model, idinit in zip(("cnn", "rnn", "bert"), finals, strict=True):
        found |= {f"{model}-{name}": one for name, one in variants(idinit=idinit, **RIVALS).items()}
    got, evidence, _ = decide("C7", found)
    assert got == outcome
    mean, deviation = map(int, re.findall(r"best mean in (\d) and the smallest standard deviation in (\d) of 3", evidence)[0])
    assert mean + deviation == won and "best of the others kaiming 75.0 ± 9.9 %" in evidence


def test_c7_needs_the_same_three_seeds_of_all_initializers_of_a_model() -> None:
    assert decide("C7", variants(**{"cnn-idinit": GOOD[:2], "cnn-kaiming": STEADY[:2]}))[0] == "not enough runs"
    assert decide("C7", variants(**{"cnn-idinit": GOOD, "cnn-kaiming": STEADY[:2]}))[0] == "not enough runs"


@pytest.mark.parametrize(
    ("idinit", "outcome"),
    [
        ([[0.1, 0.7, 0.80], [0.1, 0.71, 0.81], [0.1, 0.69, 0.80]], "reproduced"),
        ([[0.1, 0.12, 0.80], [0.1, 0.11, 0.81], [0.1, 0.13, 0.80]], "partly"),  # higher, not sooner
        ([[0.1, 0.7, 0.71], [0.1, 0.71, 0.70], [0.1, 0.69, 0.72]], "partly"),  # sooner, not higher
        ([[0.1, 0.3, 0.9], [0.1, 0.9, 0.75], [0.1, 0.9, 0.74]], "undecided"),
        ([[0.1, 0.3, 0.7]] * 3, "not reproduced"),
        ([None] * 3, "not reproduced"),
    ],
)
def test_c8_compares_the_end_and_the_way_to_60_percent(idinit: list[list[float]], outcome: str) -> None:
    default = [[0.1, 0.3, 0.75], [0.1, 0.31, 0.74], [0.1, 0.32, 0.75]]
    got, evidence, _ = decide("C8", variants(last=2, idinit=idinit, default=default))
    assert got == outcome and "nan" not in evidence


@pytest.mark.parametrize(
    ("idinit", "outcome"),
    [
        ([[0.1, 0.2, 0.4]] * 3, "not run at this scale"),
        ([[0.1, 0.3, 0.35], [0.1, 0.31, 0.34], [0.1, 0.3, 0.35]], "not run at this scale"),
        ([None] * 3, "not reproduced"),  # to fail needs no length
    ],
)
def test_c8_is_not_tested_by_training_in_which_no_run_reaches_60_percent(idinit: list, outcome: str) -> None:
    default = [[0.1, 0.3, 0.35], [0.1, 0.31, 0.34], [0.1, 0.32, 0.36]]
    assert decide("C8", variants(last=2, idinit=idinit, default=default))[0] == outcome


DEFAULT = [[7.0, 4.0, 5.0, 4.9], [7.0, 4.1, 5.0, 4.8], [7.0, 3.9, 5.0, 4.85]]  # as low as at the end in the first epoch already


@pytest.mark.parametrize(
    ("idinit", "outcome", "reached"),
    [
        ([[7.0, 2.0, 2.0, 2.0], [7.0, 2.1, 2.0, 2.0], [7.0, 1.9, 2.0, 2.0]], "reproduced", 3),
        ([[7.0, 5.0, 4.0, 3.0]] * 3, "not reproduced", 3),  # before the end of default, but default itself was sooner
        ([[7.0, 2.0, 2.0, 2.0], [7.0, 2.1, 2.0, 2.0], [7.0, 6.0, 5.5, 5.2]], "not reproduced", 2),  # one never
        ([[7.0, 2.0, 2.0, 2.0], [7.0, 4.2, 3.0, 2.0], [7.0, 3.7, 2.0, 2.0]], "undecided", 3),
        (DEFAULT, "not reproduced", 3),
        ([None] * 3, "not reproduced", 0),
    ],
)
def test_c9_compares_with_the_first_time_that_the_baseline_itself_is_there(idinit: list, outcome: str, reached: int) -> None:
    got, evidence, _ = decide("C9", variants(losses=True, idinit=idinit, default=DEFAULT))
    assert got == outcome and f"in {reached} of 3 seeds" in evidence and "nan" not in evidence


def test_c9_claims_no_saving_from_two_seeds() -> None:
    fast = [[7.0, 2.0, 2.0, 2.0]] * 2
    outcome, evidence, _ = decide("C9", variants(losses=True, idinit=fast, default=DEFAULT[:2]))
    assert outcome == "not enough runs" and "less compute" not in evidence
