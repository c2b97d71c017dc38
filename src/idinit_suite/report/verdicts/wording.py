"""The numbers of a verdict in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...archive.variants import MARGIN
from ...statistics.estimates import estimate, is_possible
from ...statistics.significance import ENOUGH, Gain
from ..formatting import difference_interval, percent_spread, plain
from ..measured import Measured
from ..outcomes import Headline


def difference(one: Gain, label: str) -> Headline:
    """A difference of accuracies, in points."""
    return Headline(f"{100 * one.mean:+.1f} points", label, interval=interval_of(one))


def interval_of(one: Gain, least: float = -1.0) -> tuple[float, float, float] | None:
    """The interval in percent; None where there is none, or where it reaches beyond what is possible, ``least`` to 1."""
    return (100 * one.low, 100 * one.mean, 100 * one.high) if is_possible(one.low, one.high, least, 1.0) else None


def too_few(seeds: int) -> Headline:
    """The number of seeds where they are too few."""
    return Headline(f"{seeds} of {ENOUGH}", "seeds that a verdict needs")


def trained(one: Measured) -> str:
    """The number of runs of a variant that trained."""
    return f"{len(one.seeds) - len(one.failed)} of {len(one.seeds)}"


def training(one: Measured) -> str:
    """Whether a variant trains, with its score."""
    failed, runs = len(one.failed), len(one.seeds)
    verb = "trains" if not failed else "fails" if failed == runs else f"fails in {failed} of {runs} runs"
    return f"{verb} ({score(one)})"


def failure_rule(one: Measured) -> str:
    """When a run fails."""
    return f"a run fails if it diverges or ends at or below {100 * (one.chance + MARGIN):.0f} % test accuracy"


def score(one: Measured) -> str:
    """Final test accuracy with its interval, and how many runs diverged."""
    runs, diverged = len(one.seeds), len(one.diverged)
    if diverged == runs:
        return "diverged" if runs == 1 else f"all {runs} diverged"
    text = f"{100 * one.test.mean:.1f}{percent_spread(one.test)} %"
    return f"{text}, {diverged} of {runs} diverged" if diverged else text


def points(one: Gain) -> str:
    """A difference of accuracies with its interval and p-value."""
    return f"{100 * one.mean:+.1f} points{difference_interval(one.low, one.high)}{p_value(one)}"


def p_value(one: Gain) -> str:
    """A p-value of a test of one side."""
    return f", one-sided p = {one.p:.2g}"


def mean_loss(values: Mapping[int, float]) -> str:
    """A loss as a mean with its interval."""
    return plain(estimate(values.values()), 3)


def listed(names: Sequence[str]) -> str:
    """Names as ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
