"""What holds of the verdicts on all claims."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from measured_variants import variants

from idinit.errors import UsageError
from idinit_suite.archive.runs import load, merge
from idinit_suite.archive.variants import list_variants, scales
from idinit_suite.data.locate import other_data
from idinit_suite.report.outcomes import OUTCOMES, Verdict
from idinit_suite.report.verdicts import CLAIMS, decide, judge

Judged = Callable[..., Verdict]
OF_VARIANTS = [name for name in CLAIMS if not CLAIMS[name].info.maps]
NAMING = [name for name in OF_VARIANTS if CLAIMS[name].info.against is not None]
NEEDED = ("idinit", "default", "kaiming", "neither", "idic", "idizc", "both")  # with these, every claim has its verdict


@pytest.fixture
def judged(make_run: Callable[..., Path], tmp_path: Path) -> Judged:
    """``judged("C3", idinit=[0.9, 0.91], fixup=None)``: final accuracies of a variant's seeds; None for one that diverged.

    A list in place of a number is a whole validation curve, from before training on.
    """

    def make(
        claim: str,
        budget: str = "cpu",
        epochs: int = 3,
        data: str = "CIFAR-10 (JPEG copy)",
        **finals: list[float | list[float] | None],
    ) -> Verdict:
        runs = []
        for variant, values in finals.items():
            for seed, value in enumerate(values):
                setting = {"seed": seed, "budget": budget, "epochs": epochs, "data": data}
                if value is None:
                    runs.append(make_run(variant, [0.1], state="diverged", **setting))
                elif isinstance(value, list):
                    runs.append(make_run(variant, value, **setting))
                else:
                    runs.append(make_run(variant, [0.1, *[value] * epochs], **setting))
        merge(runs, tmp_path / "r")
        archive = load(tmp_path / "r")
        (scale,) = scales(archive)
        return judge(claim, scale, list_variants(archive, scale))

    return make


@pytest.mark.parametrize("claim", list(CLAIMS))
def test_every_verdict_opens_with_its_scale_and_has_no_stray_numbers(claim: str, judged: Judged) -> None:
    verdict = judged(claim, **{name: [0.85, 0.9, 0.87] for name in NEEDED})
    assert verdict.claim == claim and verdict.outcome in OUTCOMES
    assert verdict.evidence.startswith("CIFAR-10 (JPEG copy), cpu budget, 3 epochs: ")
    assert verdict.evidence.endswith(".") and not re.search(r"\b(nan|inf)\b", verdict.evidence)


@pytest.mark.parametrize("claim", list(CLAIMS))
def test_no_verdict_without_the_variants(claim: str, judged: Judged) -> None:
    expected = "not enough runs" if CLAIMS[claim].info.by_model else "not run at this scale"
    assert judged(claim, orthogonal=[0.5] * 3).outcome == expected


@pytest.mark.parametrize("claim", list(CLAIMS))
def test_a_smoke_run_proves_nothing(claim: str, judged: Judged) -> None:
    assert judged(claim, budget="smoke", **{name: [0.5] * 3 for name in NEEDED}).outcome == "not run at this scale"


@pytest.mark.parametrize("claim", list(CLAIMS))
def test_files_that_are_not_the_set_whose_name_they_have_prove_nothing(claim: str, judged: Judged) -> None:
    data = other_data("CIFAR-10", {"train": 1000})
    assert judged(claim, data=data, **{name: [0.5] * 3 for name in NEEDED}).outcome == "not run at this scale"


def names_of(claim: str) -> tuple[str, ...]:
    """The variants that a claim names, or some where it names none."""
    info = CLAIMS[claim].info
    return (*info.needs, *(("default", "kaiming") if info.against is None else info.against))


@pytest.mark.parametrize(("claim", "few"), [(claim, few) for claim in NAMING for few in names_of(claim)])
@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_of_a_variant_are_not_enough_whatever_the_numbers(claim: str, few: str, seeds: int) -> None:
    """Even where the numbers could not be clearer."""
    best = ("idinit", "both")
    clear = variants(**{name: [0.9 if name in best else 0.1] * (seeds if name == few else 3) for name in names_of(claim)})
    assert decide(claim, clear)[0] == "not enough runs"


def test_seeds_count_where_all_variants_have_them() -> None:
    found = variants(idinit=[0.5] * 3, xavier=[0.1] * 3, kaiming=[0.1] * 3)
    assert decide("C1", found)[0] == "reproduced"
    shifted = replace(found["kaiming"], accuracy={seed + 1: value for seed, value in found["kaiming"].accuracy.items()})
    assert decide("C1", found | {"kaiming": shifted})[0] == "not enough runs"


@pytest.mark.parametrize("claim", [name for name in CLAIMS if CLAIMS[name].info.against])
def test_a_rival_that_is_missing_is_named_and_the_claim_at_most_partly_reproduced(claim: str) -> None:
    against = CLAIMS[claim].info.against
    worse = [0.1] * 3 if claim != "C3" else [0.901, 0.902, 0.902]
    found = variants(idinit=[0.90, 0.901, 0.902], **dict.fromkeys(against, worse))
    assert decide(claim, found)[0] == "reproduced"
    del found[against[-1]]
    outcome, evidence, _ = decide(claim, found)
    assert outcome == "partly" and f"not run: {against[-1]}" in evidence


@pytest.mark.parametrize("claim", OF_VARIANTS)
@pytest.mark.parametrize("value", [0.9, 0.1, None])
def test_variants_that_do_exactly_the_same_reproduce_no_difference(claim: str, value: float | None) -> None:
    outcome, evidence, _ = decide(claim, variants(**{name: [value] * 3 for name in names_of(claim)}))
    expected = {"C3": "reproduced", "C6": "holds, not distinctive"} if value == 0.9 else {}
    assert outcome in (expected.get(claim, "not reproduced"), "undecided", "not run at this scale", "not enough runs")
    assert "nan" not in evidence


def test_an_unknown_claim_is_refused(judged: Judged) -> None:
    with pytest.raises(UsageError, match="'C99'.*C1"):
        judged("C99", idinit=[0.5])


def test_a_side_recipe_has_no_say(make_run: Callable[..., Path], tmp_path: Path) -> None:
    runs = [make_run("idinit", [0.1, 0.5], seed=seed) for seed in range(3)]
    runs += [make_run(name, [0.1, 0.1], seed=seed) for name in ("kaiming", "xavier") for seed in range(3)]
    runs += [make_run("idinit", [0.1, 0.1], lr=9.0)]
    merge(runs, tmp_path / "r")
    archive = load(tmp_path / "r")
    (scale,) = scales(archive)
    assert judge("C1", scale, list_variants(archive, scale)).outcome == "reproduced"


def test_the_evidence_names_learning_rates_at_an_edge_of_the_search(make_run: Callable[..., Path], tmp_path: Path) -> None:
    runs = [make_run("idinit", [0.1, 0.5], seed=seed, lr=0.3) for seed in range(3)]
    runs += [make_run(name, [0.1, 0.1], seed=seed, lr=0.1) for name in ("kaiming", "xavier") for seed in range(3)]
    names = ("idinit", "kaiming", "xavier")
    runs += [make_run(name, [0.1, 0.2], lr=lr, phase="tune") for name in names for lr in (0.03, 0.1, 0.3)]
    merge(runs, tmp_path / "r")
    archive = load(tmp_path / "r")
    (scale,) = scales(archive)
    evidence = judge("C1", scale, list_variants(archive, scale)).evidence
    assert evidence.endswith(" Learning rates at an edge of those searched: idinit (highest).")
