"""Rules of claims by the claim's id, and what several of them share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from idinit.registry import Registry

from ...statistics.significance import ALPHA, Gain, holm
from ..measured import Measured
from ..outcomes import Finding, Outcome

Cells = Mapping[tuple[float, float], Measured]  # a variant's runs by recipe
Rule = Callable[..., Finding]  # of the variants by name and the names of those to compare with


@dataclass(frozen=True)
class VerdictInfo:
    """The variants that a verdict is about.

    Attributes:
        needs: Names of the variants without which there is no verdict.
        against: Names of those to compare with, of which one must be there; None for all others.
        maps: Whether the claim is about all recipes of a grid: the rule then gets `Cells`.
        by_model: Whether variants are called ``model-initializer``, and the rule itself looks which models have enough runs.
    """

    needs: tuple[str, ...]
    against: tuple[str, ...] | None
    maps: bool = False
    by_model: bool = False


CLAIMS: Registry[Rule, VerdictInfo] = Registry("claim")


def combine(gains: Sequence[Gain]) -> Outcome:
    """The outcome of a claim that names several differences: none is believed before Holm's method finds one."""
    values = [one.p for one in gains]
    if any(holm(values)):
        return "reproduced" if max(values) <= ALPHA else "partly"
    return "undecided" if all(one.mean > 0 for one in gains) else "not reproduced"


def epochs_saved(mine: Mapping[int, float], other: Mapping[int, float], last: float) -> list[float]:
    """By how many epochs a variant was sooner, seed by seed.

    Of a run that never got there it is only known that it is later than the last epoch: the other's counts as that, which
    understates the gain; against one that did, the variant's own counts as infinitely late. Where neither did, it is 0.
    """
    both = [(mine[seed], other[seed]) for seed in sorted(mine.keys() & other.keys())]
    return [0.0 if math.isinf(a) and math.isinf(b) else min(b, last) - a for a, b in both]
