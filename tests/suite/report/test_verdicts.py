from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from idinit.errors import UsageError
from idinit_suite.archive.runs import load, merge
from idinit_suite.archive.variants import arms, scales
from idinit_suite.report.verdicts import CLAIMS, Verdict, judge

Judged = Callable[..., Verdict]
OF_ARMS = [name for name in CLAIMS if not CLAIMS[name].facts.get("maps")]
NEEDED = ("idinit", "default", "kaiming", "neither", "idic", "idizc", "both")  # with these, every claim has its verdict


@pytest.fixture
def judged(make_run: Callable[..., Path], tmp_path: Path) -> Judged:
    """``judged("C3", idinit=[0.9, 0.91], fixup=None)``: final accuracies of an arm's seeds; None for one that diverged.

    A list in place of a number is a whole validation curve, from before training on.
    """

    def make(claim: str, budget: str = "cpu", epochs: int = 3, **finals: list[float | list[float] | None]) -> Verdict:
        runs = []
        for arm, values in finals.items():
            for seed, value in enumerate(values):
                setting = {"seed": seed, "budget": budget, "epochs": epochs}
                if value is None:
                    runs.append(make_run(arm, [0.1], state="diverged", **setting))
                elif isinstance(value, list):
                    runs.append(make_run(arm, value, **setting))
                else:
                    runs.append(make_run(arm, [0.1, *[value] * epochs], **setting))
        merge(runs, tmp_path / "r")
        archive = load(tmp_path / "r")
        (scale,) = scales(archive)
        return judge(claim, scale, arms(archive, scale))

    return make


@pytest.mark.parametrize("claim", OF_ARMS)
def test_every_verdict_opens_with_its_scale(claim: str, judged: Judged) -> None:
    verdict = judged(claim, **{name: [0.85, 0.9] for name in NEEDED})
    assert verdict.claim == claim
    assert verdict.evidence.startswith("CIFAR-10 (JPEG copy), cpu budget, 3 epochs, 2 runs an arm: ")
    at_the_end = CLAIMS[claim].facts.get("at_the_end", False)
    assert (verdict.outcome == "not run at this scale") == at_the_end
    assert verdict.evidence.endswith(".") and "nan" not in verdict.evidence


@pytest.mark.parametrize("claim", list(CLAIMS))
def test_no_verdict_without_the_arms(claim: str, judged: Judged) -> None:
    missing = judged(claim, orthogonal=[0.5])
    assert missing.outcome == "not run at this scale" and "there are no runs of" in missing.evidence


@pytest.mark.parametrize("claim", list(CLAIMS))
def test_a_smoke_run_proves_nothing(claim: str, judged: Judged) -> None:
    assert judged(claim, budget="smoke", **{name: [0.5] for name in NEEDED}).outcome == "not run at this scale"


def test_an_unknown_claim_is_refused(judged: Judged) -> None:
    with pytest.raises(UsageError, match="unknown claim 'C99'.*C1"):
        judged("C99", idinit=[0.5])


@pytest.mark.parametrize(
    ("idinit", "xavier", "kaiming", "outcome"),
    [
        ([0.5, 0.5], [None, None], [0.1, 0.15], "reproduced"),  # diverged, and no further than chance + 5 points
        ([0.5, 0.5], [0.1, 0.1], [0.4, 0.4], "partly"),
        ([0.5, 0.5], [0.1, 0.5], [0.1, None], "partly"),
        ([0.5, 0.5], [0.4, 0.4], [0.6, 0.6], "not reproduced"),  # nobody fails
        ([0.1, 0.1], [None, None], [0.1, 0.1], "not reproduced"),  # everybody fails
        ([0.5, None], [None, None], [0.1, 0.1], "not reproduced"),  # IDInit is not reliable
    ],
)
def test_c1(judged: Judged, idinit: list, xavier: list, kaiming: list, outcome: str) -> None:
    assert judged("C1", idinit=idinit, xavier=xavier, kaiming=kaiming).outcome == outcome


def test_c1_says_the_numbers(judged: Judged) -> None:
    verdict = judged("C1", idinit=[0.5, 0.54], xavier=[None, 0.3], kaiming=[None, None])
    assert "idinit trains (52.0 ± 25.4 %)" in verdict.evidence  # t(0.975, 1) = 12.706, sd / sqrt(2) = 0.02
    assert "xavier fails in 1 of 2 runs (30.0 %, 1 of 2 diverged)" in verdict.evidence
    assert "kaiming fails (all 2 diverged)" in verdict.evidence
    assert "15 % test accuracy" in verdict.evidence


def test_c1_needs_only_one_of_the_failing_methods(judged: Judged) -> None:
    verdict = judged("C1", idinit=[0.5], kaiming=[0.1])
    assert verdict.outcome == "reproduced" and verdict.evidence.endswith("Not run: xavier.")


FAST, SLOW, NEVER = [0.1, 0.5, 0.85, 0.9], [0.1, 0.4, 0.7, 0.85], [0.1, 0.2, 0.3, 0.4]


@pytest.mark.parametrize(
    ("idinit", "others", "outcome", "words"),
    [
        ([FAST], {"fixup": [SLOW], "zero": [NEVER]}, "reproduced", "idinit came first in epochs to 80 %"),
        ([FAST], {"fixup": [FAST]}, "partly", "level with fixup"),
        ([SLOW], {"fixup": [FAST], "kaiming": [FAST]}, "not reproduced", "kaiming and fixup came before idinit"),
        ([NEVER], {"fixup": [SLOW]}, "not reproduced", "idinit > 3"),
        ([FAST, NEVER], {"fixup": [SLOW, SLOW]}, "not reproduced", "idinit 2 (1 of 2)"),
        ([FAST], {"kaiming": [None]}, "reproduced", "kaiming > 3"),
        # nobody gets to 80 %: the highest threshold that somebody reached
        ([NEVER], {"fixup": [[0.1, 0.2, 0.2, 0.3]]}, "not run at this scale", "no arm reached 80 %; idinit came first in"),
        ([NEVER], {"fixup": [[0.1, 0.2, 0.2, 0.55]]}, "not run at this scale", "fixup came before idinit in epochs to 50 %"),
        ([[0.1] * 4], {"fixup": [[0.1] * 4]}, "not run at this scale", "no arm reached 20 %"),
    ],
)  # fmt: skip
def test_c2(judged: Judged, idinit: list, others: dict[str, list], outcome: str, words: str) -> None:
    verdict = judged("C2", idinit=idinit, **others)
    assert verdict.outcome == outcome and words in verdict.evidence


@pytest.mark.parametrize(
    ("idinit", "kaiming", "fixup", "outcome"),
    [
        ([0.940], [0.933], [0.949], "reproduced"),  # within a point of both
        ([0.94], [0.90], [0.945], "partly"),
        ([0.94], [0.80], [0.99], "not reproduced"),
        ([0.94], [None], [None], "not reproduced"),
        ([None], [0.5], [0.5], "not reproduced"),
        # 3 points apart, but the seeds are 8 points apart; and the same difference with steady seeds
        ([0.86, 0.94, 0.90], [0.83, 0.91, 0.87], [0.90, 0.90, 0.90], "reproduced"),
        ([0.900, 0.901, 0.902], [0.870, 0.871, 0.872], [0.870, 0.871, 0.872], "not reproduced"),
    ],
)
def test_c3(judged: Judged, idinit: list, kaiming: list, fixup: list, outcome: str) -> None:
    assert judged("C3", budget="paper", idinit=idinit, kaiming=kaiming, fixup=fixup).outcome == outcome


def test_c3_says_the_differences(judged: Judged) -> None:
    evidence = judged("C3", idinit=[0.94], kaiming=[0.90], fixup=[None]).evidence
    assert "no tie with kaiming (90.0 %, +4.0 points)" in evidence
    assert "no tie with fixup (diverged)" in evidence


@pytest.mark.parametrize(
    ("neither", "idic", "idizc", "both", "outcome"),
    [
        ([0.3], [0.4], [0.5], [0.6], "reproduced"),
        ([0.30, 0.31], [0.40, 0.41], [0.50, 0.51], [0.60, 0.61], "reproduced"),
        ([None], [0.4], [0.5], [0.6], "reproduced"),  # diverging stands below all others
        ([0.30, 0.70], [0.51, 0.52], [0.53, 0.54], [0.40, 0.80], "partly"),  # in order, but within the noise
        ([0.3], [0.5], [0.4], [0.6], "partly"),  # the two ideas alone change places
        ([0.3], [0.4], [0.6], [0.5], "not reproduced"),  # both is not the best
        ([0.6], [0.5], [0.4], [0.3], "not reproduced"),
        ([0.5], [0.5], [0.5], [0.5], "not reproduced"),
        ([0.3], [0.4], [0.5], [None], "not reproduced"),
    ],
)
def test_c4(judged: Judged, neither: list, idic: list, idizc: list, both: list, outcome: str) -> None:
    verdict = judged("C4", neither=neither, idic=idic, idizc=idizc, both=both)
    assert verdict.outcome == outcome and "nan" not in verdict.evidence


def test_c4_says_the_gain(judged: Judged) -> None:
    finals = {"neither": [0.30, 0.32], "idic": [0.4, 0.4], "idizc": [0.5, 0.5], "both": [0.60, 0.62]}
    # Welch with equal variances: t(0.975, 2) = 4.3027, standard error sqrt(2) * 0.01
    assert "both over neither gains +30.0 points ± 6.1" in judged("C4", **finals).evidence


@pytest.mark.parametrize(
    ("idinit", "kaiming", "outcome", "words"),
    [
        ([0.5, 0.5, 0.1, 0.5], [0.5, None, None, 0.4], "reproduced", "idinit trains in 3 and is good in 3 of 4, kaiming"),
        ([0.5, 0.5, 0.1, 0.5], [0.5, 0.46, 0.44, None], "not reproduced", "kaiming trains in 3 and is good in 2 of 4"),
        ([0.5, None, None, None], [0.5, 0.4, None, None], "not reproduced", "good is within 5 points of the best"),
    ],
)
def test_c5(
    make_run: Callable[..., Path], tmp_path: Path, idinit: list, kaiming: list, outcome: str, words: str
) -> None:  # fmt: skip
    points = [(lr, decay) for lr in (0.1, 0.3) for decay in (0.0, 1e-3)]

    def judged_now(runs: list[Path]) -> Verdict:
        merge(runs, tmp_path / "r")
        archive = load(tmp_path / "r")
        (scale,) = scales(archive)
        return judge("C5", scale, arms(archive, scale))

    runs = [
        make_run(
            arm, [0.1, value or 0.1], state="done" if value else "diverged", epochs=1, lr=lr, optim={"weight_decay": decay}
        )
        for arm, values in (("idinit", idinit), ("kaiming", kaiming))
        for value, (lr, decay) in zip(values, points, strict=True)
    ]
    assert judged_now(runs[:-1]).evidence == "CIFAR-10 (JPEG copy), cpu budget, 1 epoch: the grid is not complete."
    verdict = judged_now(runs)
    assert verdict.outcome == outcome and words in verdict.evidence
    assert verdict.evidence.startswith("CIFAR-10 (JPEG copy), cpu budget, 1 epoch, 1 run an arm: ")


@pytest.mark.parametrize(
    ("idinit", "outcome"),
    [([0.4, 0.5], "reproduced"), ([0.4, 0.1], "partly"), ([0.4, None], "partly"), ([0.1, None], "not reproduced")],
)
def test_c6(judged: Judged, idinit: list, outcome: str) -> None:
    verdict = judged("C6", idinit=idinit, kaiming=[0.1, 0.1], orthogonal=[0.5, 0.5])
    assert verdict.outcome == outcome
    assert re.search(r"kaiming fails \(10.0 ± 0.0 %\).*", verdict.evidence)
    assert "orthogonal trains (50.0 ± 0.0 %)" in verdict.evidence


def test_evidence_says_how_uneven_the_runs_are(judged: Judged) -> None:
    assert "1 to 3 runs an arm" in judged("C6", idinit=[0.5, 0.5, 0.5], kaiming=[0.1]).evidence


def test_a_side_recipe_has_no_say(make_run: Callable[..., Path], tmp_path: Path) -> None:
    runs = [make_run("idinit", [0.1, 0.5], seed=seed) for seed in range(2)]
    runs += [make_run("idinit", [0.1, 0.1], lr=9.0), make_run("kaiming", [0.1, 0.1])]
    merge(runs, tmp_path / "r")
    archive = load(tmp_path / "r")
    (scale,) = scales(archive)
    assert judge("C1", scale, arms(archive, scale)).outcome == "reproduced"


@pytest.mark.parametrize(
    ("cnn", "rnn", "outcome", "count"),
    [
        ([0.80, 0.801], [0.90, 0.901], "reproduced", "best mean in 2 and the smallest standard deviation in 2 of 2"),
        ([0.80, 0.801], [0.60, 0.650], "partly", "best mean in 1 and the smallest standard deviation in 1 of 2"),
        ([0.60, 0.650], [0.60, 0.650], "not reproduced", "best mean in 0 and the smallest standard deviation in 0 of 2"),
        ([None, None], [0.90, 0.901], "partly", "best mean in 1 and the smallest standard deviation in 1 of 2"),
    ],
)
def test_c7_wants_the_best_mean_and_the_smallest_spread_on_every_model(
    judged: Judged, cnn: list[float | None], rnn: list[float | None], outcome: str, count: str
) -> None:
    rivals = {"cnn-kaiming": [0.79, 0.8], "rnn-kaiming": [0.7, 0.71], "cnn-default": [None, None], "rnn-xavier": [0.5, 0.9]}
    verdict = judged("C7", **{"cnn-idinit": cnn, "rnn-idinit": rnn, **rivals})
    assert verdict.outcome == outcome
    assert count in verdict.evidence
    assert "best of the others kaiming 79.5 ± 6.4 %" in verdict.evidence
    assert "nan" not in verdict.evidence


def test_c7_needs_two_seeds(judged: Judged) -> None:
    assert judged("C7", **{"cnn-idinit": [0.8], "cnn-kaiming": [0.7]}).outcome == "not run at this scale"


@pytest.mark.parametrize(
    ("idinit", "outcome"),
    [
        ([[0.1, 0.7, 0.8]], "reproduced"),
        ([[0.1, 0.3, 0.8]], "partly"),
        ([[0.1, 0.7, 0.7]], "partly"),
        ([[0.1, 0.3, 0.7]], "not reproduced"),
        ([None], "not reproduced"),
    ],
)
def test_c8_compares_the_end_and_the_way_to_60_percent(judged: Judged, idinit: list[list[float]], outcome: str) -> None:
    arms = {"idinit": idinit, "default": [[0.1, 0.3, 0.75]]}
    verdict = judged("C8", budget="paper", epochs=2, **arms)
    assert verdict.outcome == outcome
    assert "default 2" in verdict.evidence and "nan" not in verdict.evidence


def test_c8_has_no_verdict_at_small_scale(judged: Judged) -> None:
    verdict = judged("C8", epochs=2, idinit=[[0.1, 0.7, 0.8]], default=[[0.1, 0.3, 0.75]])
    assert verdict.outcome == "not run at this scale"
    assert (
        "idinit 80.0 %, default 75.0 % (+5.0 points); epochs to 60 % validation accuracy: idinit 1, default 2"
        in verdict.evidence
    )
