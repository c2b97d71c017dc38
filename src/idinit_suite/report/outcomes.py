"""The outcomes that a verdict can have, and what each means."""

from __future__ import annotations

from typing import Literal

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
    "undecided": "the numbers point the way of the claim, but chance could have made them",
    "not reproduced": "the numbers do not point the way of the claim, or they contradict it",
    "not enough runs": f"fewer than {ENOUGH} seeds of a method that the claim names, whatever the numbers",
    "not run at this scale": "no runs that could test the claim, or training too short for it",
}
SILENT: tuple[Outcome, ...] = ("not enough runs", "not run at this scale")  # these have no say in the verdict over experiments
