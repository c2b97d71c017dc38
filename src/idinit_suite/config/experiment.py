"""The head of an experiment's config: its command, its claims and how it departs from the paper."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from .groups import CONFIG_DIR

TAGS = {
    "text": "the paper's own words",
    "review": "said by a human reviewer of the paper",
    "review?": "said only by machine-written reviews; a fraction, if any, is how many of them agree",
    "ours": "our choice, since the paper's is not known",
}

Line = Annotated[str, Field(min_length=1)]


class ClaimInfo(BaseModel):
    """One claim of the paper that an experiment puts to the test.

    Attributes:
        id: Name of the claim; the key of its verdict function in ``idinit_suite.report.verdicts.CLAIMS``.
        short: The claim in a few words.
        text: The claim in one sentence.
        setting: The model, data and optimizer for which it is made.
        paper: The paper's value, with its unit; ``-`` where no number is known.
        figure: The same in a few characters, beside one number of ours.
        tag: How well that value is known: a key of ``TAGS``, which a remark may follow.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(pattern=r"^C\d+$")]
    short: Line
    text: Line
    setting: Line
    paper: Line
    figure: Line
    tag: Annotated[str, Field(pattern=r"^(text|review\??|ours)( .+)?$")]


@cache
def list_claims() -> tuple[ClaimInfo, ...]:
    """All claims of the paper, from ``configs/claims.yaml``."""
    return tuple(ClaimInfo(**claim) for claim in yaml.safe_load((CONFIG_DIR / "claims.yaml").read_text(encoding="utf-8")))


def _whole(claim: Any) -> Any:
    """A claim that an experiment names by its id, alone or with what is said of it there."""
    own = {"id": claim} if isinstance(claim, str) else claim
    known = {one.id: one for one in list_claims()}
    if not isinstance(own, dict) or own.get("id") not in known:
        return claim
    return known[own["id"]].model_dump() | own


class ExperimentInfo(BaseModel):
    """The head of an experiment's page.

    Attributes:
        name: File name of its config, without the ending.
        title: A heading.
        command: What to type to run it.
        claims: The claims it tests; empty where it only shows something.
        deviations: Each way in which it departs from the paper, or settles what the paper leaves open.
        cost: How long it takes, and on what.
        baseline: The variant that the others are compared with, seed by seed; its initializer, where variants are called
            ``model-initializer``.
        variants: Labels of all variants of its grid, whether they were asked for or not.
        evidence: Whether its verdicts count in those over all experiments; not those of a demonstration.
        next: What to try after it, a line each.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Line
    title: Line
    command: Line
    claims: tuple[Annotated[ClaimInfo, BeforeValidator(_whole)], ...] = ()
    deviations: tuple[Line, ...] = ()
    cost: Line
    baseline: Line = "idinit"
    variants: tuple[Line, ...] = ()
    evidence: bool = True
    next: tuple[Line, ...] = ()


@cache
def list_experiments(kind: Literal["grid", "study"] | None = None) -> tuple[str, ...]:
    """Names of the files in ``configs/experiment``: grids of runs and then studies, or those of one kind."""
    files = (CONFIG_DIR / "experiment").glob("*.yaml")
    is_study = {path.stem: "\nstudy:" in path.read_text(encoding="utf-8") for path in files}
    names = sorted(is_study, key=lambda name: (is_study[name], name))
    return tuple(name for name in names if kind is None or is_study[name] == (kind == "study"))
