"""Compute to a loss: how much sooner than the baseline itself a variant has the loss that the baseline ends with (C9)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median

from ..archive.variants import Variant
from ..statistics.estimates import estimate, first_crossing
from ..statistics.significance import ENOUGH
from .formatting import amount
from .measured import Measured, measured
from .table import Cell, Table, table


def needed(own: Measured, baseline: Measured) -> dict[int, float]:
    """Seed -> the step at which a variant first has the loss that the baseline's run of that seed ends with.

    Linear between evaluations; infinity for a run that never has it. Only seeds of which the baseline's run completed. For
    the baseline itself it is the first time that it is as low as at its end, which may be before the end.
    """
    shared = [seed for seed in baseline.loss if seed in own.seeds]
    return {seed: _first(own, seed, baseline.loss[seed]) for seed in shared}


def _first(own: Measured, seed: int, loss: float) -> float:
    if seed not in own.curves:
        return math.inf
    curve = own.curves[seed]
    return first_crossing(curve.step, -curve.loss, -loss)


def savings(own: Measured, baseline: Measured) -> dict[int, float]:
    """Seed -> the share of the baseline's steps to its final loss that a variant does without.

    Minus infinity for a run that never has that loss: it is censored, and stays below every other.
    """
    theirs = needed(baseline, baseline)
    return {seed: 1 - step / theirs[seed] if theirs[seed] else -math.inf for seed, step in needed(own, baseline).items()}


def typical(values: Mapping[int, float]) -> float:
    """The median, in which a censored run counts as what it is: beyond all that are not; NaN if that is infinite."""
    middle = median(values.values()) if values else math.nan
    return middle if math.isfinite(middle) else math.nan


def compute_table(variants: Sequence[Variant], baseline: str) -> Table:
    """The compute that each variant needs to reach the loss with which the baseline, one of them, ends."""
    reference = next(variant for variant in variants if variant.name == baseline)
    theirs = measured(reference)
    total = estimate(reference.completed["step"]).mean
    rows: list[list[Cell | str]] = []
    for variant in variants:
        own = measured(variant)
        steps, saved = needed(own, theirs), savings(own, theirs)
        middle = typical(steps)
        work = [middle * whole / total for whole in (total, reference.tokens.mean, reference.flops.mean)]
        reached = sum(map(math.isfinite, steps.values()))
        compared = variant is not reference and len(saved) >= ENOUGH
        gain = 100 * typical(saved) if compared else math.nan
        cells = [Cell(amount(value), value) for value in work]
        saving = Cell("–" if math.isnan(gain) else f"{gain:.1f}", gain)
        rows.append([variant.label, Cell(f"{reached} of {len(steps)}", reached), *cells, saving])
    head = ["initializer", "reached", "steps", "tokens", "FLOPs", "compute saved, %"]
    return table(f"Compute to the final loss of {baseline}", head, rows)
