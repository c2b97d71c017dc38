"""``results/REPRODUCTION.md``: one row a claim of the paper, with the verdicts of all experiments that test it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import yaml

from ..config import CONFIG_DIR
from ..config.experiment import TAGS, ClaimInfo, ExperimentInfo
from .tables import grid
from .verdicts import Outcome, Verdict

TITLE = "Reproduction of IDInit"


@dataclass(frozen=True)
class Judged:
    """What an experiment says of the claims that it tests, at its largest scale.

    Attributes:
        info: The head of the experiment's config.
        budget: The budget of that scale.
        verdicts: One a claim.
    """

    info: ExperimentInfo
    budget: str
    verdicts: Sequence[Verdict]


def list_claims() -> list[ClaimInfo]:
    """All claims of the paper, from ``configs/claims.yaml``."""
    return [ClaimInfo(**claim) for claim in yaml.safe_load((CONFIG_DIR / "claims.yaml").read_text(encoding="utf-8"))]


def outcome_of(claim: str, judged: Sequence[Judged]) -> Outcome:
    """The verdict over all experiments: reproduced where each that has a say finds it so, partly where some do."""
    said = {v.outcome for one in judged for v in one.verdicts if v.claim == claim} - {"not run at this scale"}
    if not said:
        return "not run at this scale"
    if said == {"reproduced"}:
        return "reproduced"
    return "not reproduced" if said == {"not reproduced"} else "partly"


def reproduction(judged: Sequence[Judged]) -> str:
    """The page as Markdown.

    Args:
        judged: The experiments that have results.
    """
    claims = list_claims()
    outcomes = {claim.id: outcome_of(claim.id, judged) for claim in claims}
    counts = [f"{list(outcomes.values()).count(outcome)} {outcome}" for outcome in dict.fromkeys(outcomes.values())]
    head = ["claim", "what the paper says", "the paper's figure", "ours", "budget", "verdict", "deviations"]
    rows = [_row(claim, outcomes[claim.id], judged) for claim in claims]
    legend = "; ".join(f"*{tag}* is {meaning}" for tag, meaning in TAGS.items())
    parts = [
        f"# {TITLE}",
        "Made by `make report` from the archives beside it; edits are overwritten. There is no code by its authors, and "
        "the paper itself could be read only in part, so each of its figures carries a tag that says how it is known: "
        f"{legend}.",
        f"Of {len(claims)} claims: {', '.join(counts)}. An experiment that is too small for a claim has no say in its verdict; "
        "its numbers are shown all the same. Curves and tables of everything: [report.html](report.html).",
        grid(head, rows, left=len(head)),
    ]
    return "\n\n".join(parts) + "\n"


def _row(claim: ClaimInfo, outcome: Outcome, judged: Sequence[Judged]) -> list[str]:
    said = [(one, verdict) for one in judged for verdict in one.verdicts if verdict.claim == claim.id]
    paper = "no number" if claim.paper == "-" else claim.paper
    ours = [f"[{one.info.name}]({one.info.name}/): *{verdict.outcome}*. {verdict.evidence}" for one, verdict in said]
    budgets = dict.fromkeys(one.budget for one, _ in said)
    links = [f"[{len(one.info.deviations)}]({one.info.name}/#deviations-from-the-paper)" for one, _ in said]
    return [
        claim.id,
        f"{claim.text} ({claim.setting})",
        f"{paper} (*{claim.tag}*)",
        "<br>".join(ours) or "no runs yet",
        ", ".join(budgets) or "–",
        f"**{outcome}**",
        ", ".join(links) or "–",
    ]
