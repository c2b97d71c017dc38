from __future__ import annotations

import pytest

from idinit_suite.config.experiment import ClaimInfo, ExperimentInfo
from idinit_suite.experiments.grid import list_experiments, load
from idinit_suite.report.reproduction import Judged, list_claims, outcome_of, reproduction
from idinit_suite.report.verdicts import Verdict


def judged(name: str, claim: str, outcome: str, evidence: bool = True) -> Judged:
    info = ExperimentInfo(
        name=name,
        title="T",
        command=f"make {name}",
        cost="minutes",
        claims=(ClaimInfo(id=claim, text="t", setting="s", paper="-", tag="text"),),
        deviations=("One.", "Two."),
        evidence=evidence,
    )
    return Judged(info, "cpu", [Verdict(claim, outcome, f"cpu budget, 3 runs a variant: numbers of {name}.")])  # type: ignore[arg-type]


def test_every_claim_is_there_once_and_in_order() -> None:
    assert [claim.id for claim in list_claims()] == [f"C{number}" for number in range(1, 16)]


@pytest.mark.parametrize("name", list_experiments())
def test_experiments_carry_the_tags_of_the_claims(name: str) -> None:
    tags = {claim.id: claim.tag for claim in list_claims()}
    for claim in load([f"experiment={name}"]).info.claims:
        assert claim.tag == tags[claim.id]


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([], "not run at this scale"),
        (["not run at this scale"], "not run at this scale"),
        (["not enough runs", "not run at this scale"], "not enough runs"),
        (["reproduced", "not run at this scale", "not enough runs"], "reproduced"),
        (["holds, not distinctive"], "holds, not distinctive"),
        (["reproduced", "undecided"], "partly"),
        (["partly", "partly", "not reproduced"], "partly"),
        (["partly"], "partly"),
        (["partly", "not reproduced"], "not reproduced"),  # one of several may find a part by chance
        (["partly", "undecided"], "undecided"),
        (["undecided", "not reproduced"], "not reproduced"),
        (["reproduced", "not reproduced"], "partly"),
        (["partly", "reproduced"], "partly"),
        (["not reproduced", "not reproduced"], "not reproduced"),
    ],
)
def test_verdicts_of_several_experiments_are_joined(outcomes: list[str], expected: str) -> None:
    found = [judged(f"e{number}", "C4", outcome) for number, outcome in enumerate(outcomes)]
    assert outcome_of("C4", [*found, judged("other", "C1", "reproduced")]) == expected


@pytest.mark.parametrize("outcome", ["reproduced", "not reproduced", "not enough runs"])
def test_a_demonstration_has_no_say(outcome: str) -> None:
    shown = judged("demo", "C1", outcome, evidence=False)
    assert outcome_of("C1", [shown]) == "not run at this scale"
    assert outcome_of("C1", [shown, judged("cifar10-resnet56", "C1", "undecided")]) == "undecided"
    (row,) = [line for line in reproduction([shown]).splitlines() if line.startswith("| C1 ")]
    assert f"*{outcome}* (a demonstration, without a say)" in row


@pytest.mark.parametrize("name", ["demo", "demo-text"])
def test_the_demonstrations_say_that_they_are_none(name: str) -> None:
    assert not load([f"experiment={name}"]).info.evidence


def test_a_row_has_figure_tag_ours_budget_verdict_deviations_and_link() -> None:
    lines = reproduction([judged("cifar10-resnet20-ablation", "C4", "partly"), judged("demo", "C1", "reproduced")]).splitlines()
    (row,) = [line for line in lines if line.startswith("| C4 ")]
    assert "neither 87.01 %, IDIC 90.43 %, IDIZC 92.90 %, both 93.91 % (*review? 5/5 for the gains*)" in row
    assert "[cifar10-resnet20-ablation](cifar10-resnet20-ablation/): *partly*. cpu budget, 3 runs a variant: numbers of" in row
    assert "| cpu | **partly** | [2](cifar10-resnet20-ablation/#deviations-from-the-paper) |" in row
    assert "Of 15 claims: 1 reproduced; 13 not run at this scale; 1 partly." in "\n".join(lines)
    (missing,) = [line for line in lines if line.startswith("| C9 ")]
    assert missing.endswith("| no runs yet | – | **not run at this scale** | – |")
