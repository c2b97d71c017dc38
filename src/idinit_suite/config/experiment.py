"""What an experiment's config says about itself: its command, its claims and how it departs from the paper."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

TAGS = {
    "text": "the paper's own words",
    "review": "said by a human reviewer of the paper",
    "review?": "said only by machine-written reviews; the fraction is how many of them agree",
    "ours": "our choice, since the paper's is not known",
}

Line = Annotated[str, Field(min_length=1)]


class ClaimInfo(BaseModel):
    """One claim of the paper that an experiment puts to the test.

    Attributes:
        id: Name of the claim; the key of its verdict function in ``idinit_suite.report.verdicts.CLAIMS``.
        text: The claim in one sentence.
        setting: The model, data and optimizer for which it is made.
        paper: The paper's value, with its unit; ``-`` where no number is known.
        tag: How well that value is known: a key of ``TAGS``, which a remark may follow.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(pattern=r"^C\d+$")]
    text: Line
    setting: Line
    paper: Line
    tag: Annotated[str, Field(pattern=r"^(text|review\??|ours)( .+)?$")]


class ExperimentInfo(BaseModel):
    """The head of an experiment's page.

    Attributes:
        name: File name of its config, without the ending.
        title: A heading for people.
        command: What to type to run it.
        claims: The claims it tests; empty where it only shows something.
        deviations: Each way in which it departs from the paper, or settles what the paper leaves open.
        cost: How long it takes, and on what.
        baseline: The arm that the others are compared with, seed by seed; its initializer, where arms are called
            ``model-initializer``.
        arms: Labels of all arms of its grid, whether they were asked for or not.
        evidence: Whether its verdicts count in those over all experiments; not those of a demonstration.
        next: What to try after it, a line each.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Line
    title: Line
    command: Line
    claims: tuple[ClaimInfo, ...] = ()
    deviations: tuple[Line, ...] = ()
    cost: Line
    baseline: Line = "idinit"
    arms: tuple[Line, ...] = ()
    evidence: bool = True
    next: tuple[Line, ...] = ()
