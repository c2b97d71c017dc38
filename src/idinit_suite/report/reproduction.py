"""``results/REPRODUCTION.md``: one row a claim of the paper, with the verdicts of all experiments that test it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import yaml

from ..config import CONFIG_DIR
from ..config.experiment import TAGS, ClaimInfo, ExperimentInfo
from .outcomes import OUTCOMES, SILENT, Outcome
from .tables import grid
from .verdicts import Verdict

TITLE = "Reproduction of IDInit"
NO_SAY = " (a demonstration, without a say)"


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
    """The verdict over all experiments that have a say: those that are evidence, with enough runs.

    Where they agree, it is theirs. Else it is partly if one of them reproduces the claim or two find parts of it: of several
    experiments, one may find a part by chance.
    """
    every = [(one, v.outcome) for one in judged for v in one.verdicts if v.claim == claim]
    said = [outcome for one, outcome in every if one.info.evidence and outcome not in SILENT]
    if not said:
        few = any(outcome == "not enough runs" for one, outcome in every if one.info.evidence)
        return "not enough runs" if few else "not run at this scale"
    if len(set(said)) == 1:
        return said[0]
    if "reproduced" in said or said.count("partly") > 1:
        return "partly"
    rest = set(said) - {"partly"}
    return rest.pop() if len(rest) == 1 else "not reproduced"


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
        f"Of {len(claims)} claims: {'; '.join(counts)}. An experiment with too few runs for a claim has no say in its verdict, "
        "nor has a demonstration; its numbers are shown all the same. Curves and tables of everything: "
        "[report.html](report.html).",
        grid(head, rows, left=len(head)),
        "## Verdicts",
        "Each rule for training runs (C1 to C9) was simulated with methods that are all equal, for C3 with methods that differ "
        "by its margin: *reproduced* or *partly* then come out in at most 5 % of experiments. One of several experiments that "
        "finds a part of a claim, alone, does not make a verdict.",
        "\n".join(f"- *{outcome}*: {meaning}." for outcome, meaning in OUTCOMES.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _row(claim: ClaimInfo, outcome: Outcome, judged: Sequence[Judged]) -> list[str]:
    said = [(one, verdict) for one in judged for verdict in one.verdicts if verdict.claim == claim.id]
    paper = "no number" if claim.paper == "-" else claim.paper
    ours = [
        f"[{one.info.name}]({one.info.name}/): *{verdict.outcome}*{'' if one.info.evidence else NO_SAY}. {verdict.evidence}"
        for one, verdict in said
    ]
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
