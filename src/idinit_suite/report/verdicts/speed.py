"""Claims on how soon an accuracy or a loss is reached: C2 and C9."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ...statistics.estimates import Reached
from ...statistics.significance import ALPHA, gain, holm
from ..compute_to_loss import needed, savings, typical
from ..measured import Measured
from ..outcomes import Finding, Headline, Outcome
from .rules import CLAIMS, VerdictInfo, combine, epochs_saved
from .wording import interval_of, listed, mean_loss, p_value

SPEED_THRESHOLDS = (80, 70, 60)  # percent; the paper's is the first


@CLAIMS.register(
    "C2", VerdictInfo(needs=("idinit",), against=("kaiming", "zero_gamma", "fixup", "skipinit", "rezero", "rezero_bn", "zero"))
)
def _first_to_threshold(found: Mapping[str, Measured], rivals: Sequence[str]) -> Finding:
    """IDInit needs the fewest epochs to 80 % accuracy.

    Where no variant gets that far in all of its runs, the highest lower threshold to which one does stands in. Partly means
    first in the mean, and by more than chance before at least half of the methods that get there at all.
    """
    names = ("idinit", *rivals)
    for threshold in SPEED_THRESHOLDS:
        epochs = {name: found[name].epochs_to(threshold) for name in names}
        if any(all(map(math.isfinite, own.values())) for own in epochs.values()):
            break
    else:
        evidence = f"no variant reached {SPEED_THRESHOLDS[-1]} % validation accuracy in all of its runs"
        return Finding("not run at this scale", evidence)
    gains = {name: gain(epochs_saved(epochs["idinit"], epochs[name], found[name].last)) for name in rivals}
    shown = {name: held for name, held in zip(gains, holm([one.p for one in gains.values()]), strict=True) if held}
    contenders = [name for name in rivals if any(map(math.isfinite, epochs[name].values()))]
    outcome: Outcome = "not reproduced"
    if all(one.mean >= 0 for one in gains.values()):
        outcome = "undecided"
        if all(one.p <= ALPHA for one in gains.values()):
            outcome = "reproduced"
        elif contenders and 2 * sum(name in shown for name in contenders) >= len(contenders):
            outcome = "partly"
    ahead = [name for name, one in gains.items() if one.mean < 0]
    places = [
        f"sooner by more than chance than {listed(list(shown)) if shown else 'none'}",
        *([f"later in the mean than {listed(ahead)}"] if ahead else []),
    ]
    reached = {name: Reached(tuple(epochs[name].values()), found[name].last) for name in names}
    described = ", ".join(f"{name} {reached[name]}" for name in sorted(names, key=lambda name: reached[name].median))
    low = "" if threshold == SPEED_THRESHOLDS[0] else f" (no variant reached {SPEED_THRESHOLDS[0]} % in all runs)"
    mine, *others = (reached[name].median for name in names)
    first = 1 + sum(other < mine for other in others)
    shared = f" to {last}" if (last := first + others.count(mine)) > first else ""
    headline = Headline(f"place {first}{shared} of {len(names)}", f"by median epochs to {threshold} % accuracy")
    evidence = (
        f"median epochs to {threshold} % validation accuracy, interpolated between evaluations{low}: {described}; "
        f"idinit is {', '.join(places)}"
    )
    return Finding(outcome, evidence, headline)


@CLAIMS.register("C9", VerdictInfo(needs=("idinit", "default"), against=()))
def _less_compute(found: Mapping[str, Measured], rivals: Sequence[str]) -> Finding:
    """IDInit first reaches the final loss of the default initialization after less compute than that itself.

    A seed in which it never does is kept: with one, no saving is shown.
    """
    mine, other = found["idinit"], found["default"]
    saved = savings(mine, other)
    tested = gain(list(saved.values()))
    steps, theirs = needed(mine, other), needed(other, other)
    reached = sum(map(math.isfinite, steps.values()))
    middle = typical(saved)
    amount = f", with {100 * middle:.1f} % less compute in the median" if middle > 0 else ""
    interval = interval_of(tested, least=-math.inf)  # more compute than the default has no bound
    span = f" (95 % interval of the mean {interval[0]:.1f} to {interval[2]:.1f} %)" if interval else ""
    ends = ", ".join(f"{name} ends at {mean_loss(one.loss)}" for name, one in (("idinit", mine), ("default", other)))
    evidence = (
        f"idinit reaches the final loss of default in {reached} of {len(theirs)} seeds{amount}{span if amount else ''}"
        f"{p_value(tested)}; {ends}"
    )
    number = f"{100 * middle:.1f} % less" if middle > 0 else f"{-100 * middle:.1f} % more" if middle <= 0 else "never"
    headline = Headline(number, "compute to the default's final loss, median", interval=interval)
    return Finding(combine([tested]), evidence, headline)
