from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from idinit_suite.archive.runs import load as load_archive
from idinit_suite.archive.runs import merge
from idinit_suite.config.experiment import ExperimentInfo, list_claims, list_experiments
from idinit_suite.experiments.grid import load_experiment
from idinit_suite.report.blocks import markdown
from idinit_suite.report.grid_page import grid_page
from idinit_suite.report.outcomes import Headline, Outcome, Verdict
from idinit_suite.report.page import Page, Section
from idinit_suite.report.reproduction import best_reading, reproduction
from idinit_suite.report.summary import outcome_of, summarize


def page(name: str, claim: str, outcome: Outcome, evidence: bool = True) -> Page:
    info = ExperimentInfo(
        name=name, title="T", command=f"make {name}", cost="minutes", claims=(claim,), deviations=("1", "2"), evidence=evidence
    )
    verdict = Verdict(claim, outcome, f"numbers of {name}.", Headline(f"+1.5 points of {name}", "ours over theirs", n=3))
    return Page(info, "nothing", [Section("cpu budget, 3 epochs", "cpu", [verdict], [], frozenset())])


def test_every_claim_is_there_once_and_in_order() -> None:
    assert [claim.id for claim in list_claims()] == [f"C{number}" for number in range(1, 16)]
    assert all(len(claim.short) <= 60 and len(claim.figure) <= 20 for claim in list_claims()), "they must fit on a card"


@pytest.mark.parametrize("name", list_experiments("grid"))
def test_experiments_say_of_a_claim_only_what_differs(name: str) -> None:
    known = {claim.id: claim for claim in list_claims()}
    for claim in load_experiment([f"experiment={name}"]).info.claims:
        assert (claim.text, claim.tag) == (known[claim.id].text, known[claim.id].tag)


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (["not enough runs", "partly", "reproduced"], "partly"),
        (["undecided", "partly"], "undecided"),
        (["not enough runs", "not run at this scale"], "not enough runs"),
        (["not enough runs", "shorter: partly"], "partly"),
        (["undecided", "shorter: partly"], "undecided"),
    ],
)
def test_an_experiment_speaks_by_its_largest_scale_with_enough_runs(outcomes: list[str], expected: str) -> None:
    sections = []
    for text in outcomes:
        (section,) = page("demo", "C1", text.removeprefix("shorter: ")).sections  # type: ignore[arg-type]
        sections.append(replace(section, shorter=text.startswith("shorter")))
    (verdict,) = replace(page("demo", "C1", "partly"), sections=sections).verdicts("C1")
    assert verdict.outcome == expected


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
def test_verdicts_of_several_experiments_are_joined(outcomes: list[Outcome], expected: str) -> None:
    assert outcome_of([(True, outcome) for outcome in outcomes]) == expected


@pytest.mark.parametrize("outcome", ["reproduced", "not reproduced", "not enough runs"])
def test_a_demonstration_has_no_say(outcome: Outcome) -> None:
    assert outcome_of([(False, outcome)]) == "not run at this scale"
    assert outcome_of([(False, outcome), (True, "undecided")]) == "undecided"


@pytest.mark.parametrize("name", ["demo", "demo-text"])
def test_the_demonstrations_say_that_they_are_none(name: str) -> None:
    assert not load_experiment([f"experiment={name}"]).info.evidence


def test_the_number_of_a_claim_is_that_of_an_experiment_with_its_verdict() -> None:
    pages = [page("demo", "C4", "reproduced", evidence=False), page("a", "C4", "not enough runs"), page("b", "C4", "partly")]
    (summary,) = [one for one in summarize(pages) if one.claim.id == "C4"]
    assert summary.outcome == "partly"
    assert [page.info.name for page, _ in summary.verdicts] == ["b", "a", "demo"]


def test_there_is_one_line_a_claim_with_one_number_beside_the_papers() -> None:
    pages = [page("cifar10-resnet20-ablation", "C4", "partly"), page("demo", "C1", "reproduced", False)]
    lines = markdown(reproduction(pages)).splitlines()
    rows = [line for line in lines if line.startswith("| C")]
    assert len(rows) == 15
    assert [cell.strip() for cell in rows[3].strip("|").split("|")] == [
        "C4",
        "Both ideas help, most together",
        "**◐ partly**",
        "+1.5 points of cifar10-resnet20-ablation (ours over theirs)",
        "+6.9 points",
        "3",
        "[cifar10-resnet20-ablation](cifar10-resnet20-ablation/)",
    ]
    assert any(line.startswith("Of 15 claims: 1 partly; 14 not run at this scale.") for line in lines)
    assert "- [T](demo/#deviations-from-the-paper): 2" in lines


@pytest.mark.parametrize(("seeds", "named"), [(3, ["`channel`", "+20.0 points"]), (2, ["too few seeds"])])
def test_the_reading_of_the_paper_that_ends_highest_is_named(
    seeds: int, named: list[str], make_run: Callable[..., Path], info: ExperimentInfo, tmp_path: Path
) -> None:
    finals = {"reference": 0.5, "channel": 0.7, "spatial": 0.4}
    runs = [make_run(name, [0.1, end + seed / 100], seed=seed) for name, end in finals.items() for seed in range(seeds)]
    merge(runs, tmp_path / "r")
    head = info.model_copy(update={"name": "ablation-layout", "baseline": "reference", "claims": ()})
    said = best_reading(grid_page(head, load_archive(tmp_path / "r"), tmp_path / "r"))
    assert all(words in said for words in named)


def test_a_reading_with_other_seeds_than_ours_is_not_compared(
    make_run: Callable[..., Path], info: ExperimentInfo, tmp_path: Path
) -> None:
    finals = {"reference": (0.5, (0, 1, 2)), "channel": (0.7, (3, 4, 5)), "spatial": (0.4, (0, 1, 2))}
    merge([make_run(name, [0.1, end], seed=seed) for name, (end, seeds) in finals.items() for seed in seeds], tmp_path / "r")
    head = info.model_copy(update={"name": "ablation-layout", "baseline": "reference", "claims": ()})
    said = best_reading(grid_page(head, load_archive(tmp_path / "r"), tmp_path / "r"))
    assert "among 2 readings" in said and "our default, 50.0 ± 0.0 %, before `spatial`" in said
