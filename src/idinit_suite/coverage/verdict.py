"""The verdict on the paper's claim that IDInit applies to any type of network (C15), from the coverage."""

from __future__ import annotations

from collections.abc import Iterable

from ..config.experiment import ExperimentInfo, list_claims
from ..report.outcomes import Headline, Outcome, Verdict
from .runner import Row

LIBRARIES = {"timm": "timm", "torchvision": "torchvision (classification)", "hf": "transformers"}
GOALS = {"timm": 95, "torchvision": 100, "hf": 95}  # percent of the families
INFO = ExperimentInfo(
    name="coverage",
    title="Which networks can be initialized",
    command="make coverage",
    claims=tuple(claim for claim in list_claims() if claim.id == "C15"),
    deviations=(
        "How the paper supports this claim is not known. Here any type of network means one small network of each "
        "architecture family of timm and torchvision, and of many model types of transformers.",
        "A network counts if its state right after the initialization is as it should be. Nothing is trained: whether these "
        "networks learn faster or better is for the other claims.",
        "Where the paper is silent, as on queries, keys, gates, recurrent layers and depthwise convolutions, the "
        "rules are ours; the documentation of the initializer has them all.",
    ),
    cost="about half an hour on one core; a network takes seconds.",
)


def count(rows: Iterable[Row], source: str) -> tuple[int, int]:
    """How many families of a library are as they should be, and how many were checked."""
    status = [row["status"] for row in rows if row["source"] == source]
    return status.count("ok"), len(status)


def judge_coverage(rows: Iterable[Row]) -> Verdict | None:
    """What the coverage says of the claim: where the method can be applied; never that it helps there.

    Where it can be applied to fewer than half of the families of some library, the claim is not reproduced.

    Args:
        rows: The rows of coverage.csv.

    Returns:
        The verdict on C15; None where nothing was checked.
    """
    rows = list(rows)
    counts = {source: count(rows, source) for source in LIBRARIES}
    fine, checked = (sum(column) for column in zip(*counts.values(), strict=True))
    if not checked:
        return None
    outcome: Outcome = "applies, benefit not measured"
    if any(2 * ok < families for ok, families in counts.values()):
        outcome = "not reproduced"
    if not all(families for _, families in counts.values()):
        outcome = "not run at this scale"
    listed = ", ".join(f"{name} {counts[source][0]} of {counts[source][1]}" for source, name in LIBRARIES.items())
    evidence = (
        f"cpu budget, one small network a family: the method was applied without a fault to {fine} of {checked} families "
        f"({listed}). Nothing was trained: how often it helps is not known from this."
    )
    headline = Headline(f"{fine} of {checked}", "architecture families initialized without a fault")
    return Verdict("C15", outcome, evidence, headline)
