"""Verdicts: the possible outcomes, what each means, and the numbers beside an outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..statistics.significance import ALPHA, ENOUGH

Outcome = Literal[
    "reproduced",
    "partly",
    "holds, not distinctive",
    "applies, benefit not measured",
    "undecided",
    "not reproduced",
    "not enough runs",
    "not run at this scale",
]

OUTCOMES: dict[Outcome, str] = {
    "reproduced": f"every difference that the claim names was found, each at a significance level of {100 * ALPHA:g} %",
    "partly": f"some of them were found, at {100 * ALPHA:g} % for all together (Holm's correction)",
    "holds, not distinctive": "IDInit does what the claim says, and so do most of the methods beside it",
    "applies, benefit not measured": "the method can be applied where the claim says; whether it helps there was not measured",
    "undecided": "the numbers are consistent with the claim, but chance could have made them",
    "not reproduced": "the numbers do not point the way of the claim, or they contradict it",
    "not enough runs": f"fewer than {ENOUGH} seeds of a method that the claim names, whatever the numbers",
    "not run at this scale": "no runs that could test the claim, or training too short for it",
}
SILENT: tuple[Outcome, ...] = ("not enough runs", "not run at this scale")  # these have no say in the verdict over experiments

Curves = Mapping[str, tuple[tuple[float, float], ...]]  # name -> points (epoch, value)


@dataclass(frozen=True)
class Headline:
    """The one number of a verdict.

    Attributes:
        number: The number with its unit, e.g. ``+4.1 points``.
        label: What it is, in a few words.
        n: Number of seeds behind it; None where there are none.
        interval: Lower end, value and upper end of its 95 % interval; None where it has none. 0 stands for no difference.
        curves: Mean curves to draw where there is no interval, IDInit's first.
    """

    number: str
    label: str
    n: int | None = None
    interval: tuple[float, float, float] | None = None
    curves: Curves | None = None


class Finding(NamedTuple):
    """The outcome of a claim, with the numbers that decide it.

    Attributes:
        outcome: A key of ``OUTCOMES``.
        evidence: The numbers in one sentence, without a full stop.
        headline: The one number that matters most; None where nothing was measured.
    """

    outcome: Outcome
    evidence: str
    headline: Headline | None = None


SMOKE = Finding("not run at this scale", "this budget only shows that everything runs")  # of any claim


@dataclass(frozen=True)
class Verdict:
    """The outcome of a claim from the runs of one scale.

    Attributes:
        claim: Its id.
        outcome: A key of ``OUTCOMES``.
        evidence: One sentence that starts with the scale and gives the numbers.
        headline: The one number that matters most; None where nothing was measured.
    """

    claim: str
    outcome: Outcome
    evidence: str
    headline: Headline | None = None
