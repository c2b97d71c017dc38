"""The columns of an experiment's main table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..archive.edges import LEGEND, MARKS
from ..archive.variants import Arm
from ..statistics.estimates import THRESHOLDS
from .formatting import amount, duration, percent, plain

_OF_ACCURACIES = (
    "Accuracies are in percent: the mean and half of its 95 % t-interval over the runs that completed. "
    "The last epoch is the result; the best epoch is chosen on the test set and stands there for comparison only. "
    "Epochs to a threshold are those to the first validation accuracy that reaches it: the median over all runs, where one "
    "that never does counts as later than the last epoch (Kaplan-Meier); “> 5 (1 of 3)” says that one of three did, “> 5” "
    "that none did within five epochs. Time is that of one run, evaluations included: the median."
)
_OF_LOSSES = (
    "The loss is the mean cross-entropy of the tokens to guess on the validation split, with half of its 95 % t-interval. "
    "FLOPs are those of the matrix products of forward and backward passes, as counted by torch. Compute to the baseline's "
    "loss is the step, between two evaluations by a straight line, at which an arm first has the loss that the baseline's run "
    "of the same seed ends with: the median over seeds, where one that never does counts as infinitely late. What is saved is "
    "compared with the step at which the baseline itself first had that loss, from three seeds on."
)


@dataclass(frozen=True)
class Column:
    """A column of the main table.

    Attributes:
        header: Its header, in two lines where that saves width.
        short: The same for a terminal.
        text: What it shows of an arm.
        key: What it sorts by, where that is a number; NaN comes last.
    """

    header: str
    short: str
    text: Callable[[Arm], str]
    key: Callable[[Arm], float] | None = None


def columns(arms: Sequence[Arm], tuned: bool) -> list[Column]:
    """The columns: accuracies and epochs to thresholds, or losses and work where tokens are guessed.

    Args:
        arms: The arms.
        tuned: Whether each arm's learning rate was picked from a grid.
    """
    rate = ("learning rate\n(picked)", "lr\n(picked)") if tuned else ("learning\nrate", "lr")
    return [
        Column("initializer", "initializer", lambda arm: arm.label),
        Column("runs\n(diverged)", "runs\n(div.)", _runs, lambda arm: len(arm.runs)),
        Column(*rate, lambda arm: f"{arm.lr:g}{MARKS.get(arm.edge, '')}", lambda arm: arm.lr),
        *(_LOSSES if arms and arms[0].guesses_tokens else _ACCURACIES),
        Column("time", "time", lambda arm: duration(arm.time), lambda arm: arm.time),
    ]


def notes(arms: Sequence[Arm]) -> str:
    """What the columns mean."""
    words = _OF_LOSSES if arms and arms[0].guesses_tokens else _OF_ACCURACIES
    return f"{words} {LEGEND}" if any(arm.edge for arm in arms) else words


def _runs(arm: Arm) -> str:
    return f"{len(arm.runs)} ({arm.diverged})" if arm.diverged else f"{len(arm.runs)}"


def _reached(threshold: int) -> Column:
    def key(arm: Arm) -> float:
        median = arm.reached(threshold).median
        return arm.last + 1 if math.isnan(median) else median  # never comes after all that were

    header, short = f"epochs\nto {threshold} %", f"epochs\nto {threshold}%"
    return Column(header, short, lambda arm: str(arm.reached(threshold)), key)


_ACCURACIES = (
    Column("test accuracy,\nlast epoch", "test %\nlast", lambda arm: percent(arm.test), lambda arm: arm.test.mean),
    Column("test accuracy,\nbest epoch", "test %\nbest", lambda arm: percent(arm.best), lambda arm: arm.best.mean),
    *map(_reached, THRESHOLDS),
)
_LOSSES = (
    Column("validation loss,\nlast step", "loss\nlast", lambda arm: plain(arm.loss, 3), lambda arm: arm.loss.mean),
    Column("guessed right", "right\n%", lambda arm: percent(arm.validation), lambda arm: arm.validation.mean),
    Column("tokens", "tokens", lambda arm: amount(arm.tokens.mean), lambda arm: arm.tokens.mean),
    Column("FLOPs", "FLOPs", lambda arm: amount(arm.flops.mean), lambda arm: arm.flops.mean),
)
