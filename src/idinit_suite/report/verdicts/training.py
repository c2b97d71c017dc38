"""Claims on what trains at all: C1, C5 and C6."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ...statistics.estimates import estimate
from ...statistics.significance import Gain, more_often
from ..measured import Measured
from ..outcomes import Finding, Headline, Outcome
from .rules import CLAIMS, Cells, VerdictInfo, combine
from .wording import failure_rule, listed, trained, training

GOOD = 0.05  # a recipe is a good one if it comes this close to the best


@CLAIMS.register("C1", VerdictInfo(needs=("idinit",), against=("xavier", "kaiming")))
def _fails_without(found: Mapping[str, Measured], rivals: Sequence[str]) -> Finding:
    """Xavier and Kaiming fail on a deep residual network without BatchNorm in every run, IDInit trains it in every run."""
    trains = not found["idinit"].failed
    fail = [found[name].failed == found[name].seeds for name in rivals]
    outcome: Outcome = "not reproduced"
    if trains and any(found[name].failed for name in rivals):
        outcome = "reproduced" if all(fail) else "partly" if any(fail) else "undecided"
    described = ", ".join(f"{name} {training(found[name])}" for name in ("idinit", *rivals))
    runs, failures = (sum(len(getattr(found[name], what)) for name in rivals) for what in ("seeds", "failed"))
    number = f"{trained(found['idinit'])} against {runs - failures} of {runs}"
    headline = Headline(number, f"runs that train: IDInit against {listed(rivals)}")
    return Finding(outcome, f"{described}; {failure_rule(found['idinit'])}", headline)


@CLAIMS.register("C5", VerdictInfo(needs=("idinit", "kaiming"), against=(), maps=True))
def _wider_region(found: Mapping[str, Cells], rivals: Sequence[str]) -> Finding:
    """IDInit trains with more recipes of a grid than Kaiming, on the same network: without BatchNorm, and with it.

    Runs are paired by recipe and seed, and those counted in which one of the two trains and the other does not.
    """
    pairs = (("idinit", "kaiming"), ("idinit_bn", "kaiming_bn"))
    gains = [_more_recipes(found[a], found[b]) for a, b in pairs if {a, b} <= found.keys()]
    everything = [one for cells in found.values() for one in cells.values()]
    best = max((estimate(one.finals.values()).mean for one in everything), default=math.nan)
    described, numbers = [], {}
    for name, cells in found.items():
        numbers[name] = trains = sum(not one.failed for one in cells.values())
        good = sum(not one.diverged and one.test.mean >= best - GOOD for one in cells.values())
        described.append(f"{name} trains in {trains} and is good in {good} of {len(cells)}")
    rules = f"{failure_rule(everything[0])}, good is within {100 * GOOD:g} points of the best"
    number = f"{numbers['idinit']} against {numbers['kaiming']} of {len(found['idinit'])}"
    headline = Headline(number, "recipes that train: IDInit against Kaiming")
    return Finding(combine(gains), f"{', '.join(described)} recipes; {rules}", headline)


@CLAIMS.register("C6", VerdictInfo(needs=("idinit",), against=None))
def _trains_without_warmup(found: Mapping[str, Measured], rivals: Sequence[str]) -> Finding:
    """A network without shortcuts trains from IDInit without warm-up in every run, which at least half of the others do not."""
    rivals = [name for name in rivals if not name.startswith("idinit")]
    failing = [name for name in rivals if found[name].failed == found[name].seeds]
    outcome: Outcome = "not reproduced"
    if not found["idinit"].failed:
        outcome = "reproduced" if 2 * len(failing) >= len(rivals) else "holds, not distinctive"
    train = sum(not found[name].failed for name in rivals)
    described = ", ".join(f"{name} {training(found[name])}" for name in ("idinit", *rivals))
    headline = Headline(
        trained(found["idinit"]), f"runs of IDInit train; {train} of {len(rivals)} other methods train in every run"
    )
    evidence = f"{described}; of the {len(rivals)} others {train} train in every run; {failure_rule(found['idinit'])}"
    return Finding(outcome, evidence, headline)


def _more_recipes(mine: Cells, other: Cells) -> Gain:
    pairs = [(at, seed) for at in mine for seed in mine[at].seeds & other[at].seeds]
    wins = sum(seed not in mine[at].failed and seed in other[at].failed for at, seed in pairs)
    losses = sum(seed in mine[at].failed and seed not in other[at].failed for at, seed in pairs)
    return more_often(wins, losses)
