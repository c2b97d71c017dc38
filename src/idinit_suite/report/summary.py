"""One verdict a claim, over all experiments that test it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..config.experiment import ClaimInfo, list_claims
from .outcomes import OUTCOMES, SILENT, Outcome, Verdict
from .page import Page


@dataclass(frozen=True)
class Summary:
    """The verdicts of all experiments on a claim, each at its largest scale.

    Attributes:
        claim: The claim.
        outcome: The verdict over all of them.
        verdicts: Each experiment with its verdict; the first is the one whose number stands for the claim.
    """

    claim: ClaimInfo
    outcome: Outcome
    verdicts: Sequence[tuple[Page, Verdict]]


def summarize(pages: Sequence[Page]) -> list[Summary]:
    """A summary of each claim of the paper, in the order of the claims."""
    found = []
    for claim in list_claims():
        verdicts = [(page, verdict) for page in pages for verdict in page.verdicts(claim.id)]
        outcome = outcome_of([(page.info.evidence, verdict.outcome) for page, verdict in verdicts])
        verdicts.sort(key=lambda one: (not one[0].info.evidence, one[1].outcome != outcome, one[1].outcome in SILENT))
        found.append(Summary(claim, outcome, verdicts))
    return found


def outcome_of(outcomes: Sequence[tuple[bool, Outcome]]) -> Outcome:
    """The verdict over all experiments that have a say: those that are evidence, with enough runs.

    Where they agree, it is theirs. Else it is partly if one of them reproduces the claim or two find parts of it: of several
    experiments, one may find a part by chance.

    Args:
        outcomes: For each experiment whether it is evidence, and its outcome.
    """
    counted = [outcome for evidence, outcome in outcomes if evidence and outcome not in SILENT]
    if not counted:
        few = any(outcome == "not enough runs" for evidence, outcome in outcomes if evidence)
        return "not enough runs" if few else "not run at this scale"
    if len(set(counted)) == 1:
        return counted[0]
    if "reproduced" in counted or counted.count("partly") > 1:
        return "partly"
    rest = set(counted) - {"partly"}
    return rest.pop() if len(rest) == 1 else "not reproduced"


def count_outcomes(summaries: Sequence[Summary]) -> dict[Outcome, int]:
    """The outcomes that occur, in the order of ``OUTCOMES``, with the number of claims of each."""
    counts = Counter(summary.outcome for summary in summaries)
    return {outcome: counts[outcome] for outcome in OUTCOMES if counts[outcome]}
