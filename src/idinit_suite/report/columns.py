"""The columns of an experiment's main table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..archive.edges import marked, with_legend
from ..archive.variants import Variant
from ..statistics.estimates import THRESHOLDS, Estimate
from .formatting import amount, duration, percent, plain

_OF_ACCURACIES = (
    "Accuracies are in percent: the mean over the runs that completed, and half of its 95 % t-interval from three of them on, "
    "or the lowest and the highest run where that interval would leave 0 to 100. "
    "The last epoch is the result; the best epoch is chosen on the test set and stands there for comparison only. "
    "Epochs to a threshold are those to the first validation accuracy that reaches it: the median over all runs, where one "
    "that never does counts as later than the last epoch (Kaplan-Meier); “> 5 (1 of 3)” says that one of three did, “> 5” "
    "that none did within five epochs. Time is that of one run, evaluations included: the median."
)
_OF_LOSSES = (
    "The loss is the mean cross-entropy of the masked tokens on the validation split, with half of its 95 % t-interval from "
    "three runs on, or the lowest and the highest run where that interval would reach below 0. "
    "FLOPs are those of the matrix products of forward and backward passes, as counted by torch. Compute to the "
    "baseline's loss is the step, between two evaluations by a straight line, at which a variant first has the loss that the "
    "baseline's run of the same seed ends with: the median over seeds, where one that never does counts as infinitely late. "
    "What is saved is compared with the step at which the baseline itself first had that loss, from three seeds on."
)


@dataclass(frozen=True)
class Column:
    """A column of the main table.

    Attributes:
        header: Its header, in two lines where that saves width.
        short: The same for a terminal.
        text: What it shows of a variant.
        key: What it sorts by, where that is a number; NaN comes last.
    """

    header: str
    short: str
    text: Callable[[Variant], str]
    key: Callable[[Variant], float] | None = None


def columns(variants: Sequence[Variant], tuned: bool) -> list[Column]:
    """The columns: accuracies and epochs to thresholds, or losses and work of language models.

    Args:
        variants: The variants.
        tuned: Whether each variant's learning rate was picked from a grid.
    """
    rate = ("learning rate\n(picked)", "lr\n(picked)") if tuned else ("learning\nrate", "lr")
    return [
        Column("initializer", "initializer", lambda one: one.label),
        Column("runs\n(diverged)", "runs\n(div.)", _runs, lambda one: len(one.runs)),
        Column(*rate, lambda one: marked(one.lr, one.edge), lambda one: one.lr),
        *(_LOSSES if variants and variants[0].is_language_model else _accuracies(variants)),
        Column("time", "time", lambda one: duration(one.time), lambda one: one.time),
    ]


def notes(variants: Sequence[Variant]) -> str:
    """The meaning of the columns."""
    words = _OF_LOSSES if variants and variants[0].is_language_model else _OF_ACCURACIES
    return with_legend(words, (variant.edge for variant in variants))


def _accuracies(variants: Sequence[Variant]) -> list[Column]:
    first, *others = _ACCURACIES
    top5 = [_TOP5] if any(variant.top5.n for variant in variants) else []
    averaged = [_AVERAGED] if any(variant.averaged.n for variant in variants) else []
    return [first, *top5, *averaged, *others]


def _where_measured(value: Estimate) -> str:
    return percent(value) if value.n else "–"


def _runs(variant: Variant) -> str:
    return f"{len(variant.runs)} ({variant.diverged})" if variant.diverged else f"{len(variant.runs)}"


def _reached(threshold: int) -> Column:
    def key(variant: Variant) -> float:
        return min(variant.reached(threshold).median, variant.last + 1)  # never comes after all that were

    header, short = f"epochs\nto {threshold} %", f"epochs\nto {threshold}%"
    return Column(header, short, lambda one: str(one.reached(threshold)), key)


_ACCURACIES = (
    Column("test accuracy,\nlast epoch", "test %\nlast", lambda one: percent(one.test), lambda one: one.test.mean),
    Column("test accuracy,\nbest epoch", "test %\nbest", lambda one: percent(one.best), lambda one: one.best.mean),
    *map(_reached, THRESHOLDS),
)
_TOP5 = Column("top-5 accuracy,\nlast epoch", "top-5 %\nlast", lambda one: _where_measured(one.top5), lambda one: one.top5.mean)
_AVERAGED = Column(
    "averaged weights,\nlast epoch", "EMA %\nlast", lambda one: _where_measured(one.averaged), lambda one: one.averaged.mean
)
_LOSSES = (
    Column("validation loss,\nlast step", "loss\nlast", lambda one: plain(one.loss, 3), lambda one: one.loss.mean),
    Column("masked-token\naccuracy", "acc.\n%", lambda one: percent(one.validation), lambda one: one.validation.mean),
    Column("tokens", "tokens", lambda one: amount(one.tokens.mean), lambda one: one.tokens.mean),
    Column("FLOPs", "FLOPs", lambda one: amount(one.flops.mean), lambda one: one.flops.mean),
)
