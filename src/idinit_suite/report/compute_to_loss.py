"""Compute to a loss: how much less of it an arm needs than the baseline needs in all, which is C9's measure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..archive.variants import Arm
from ..statistics.estimates import Estimate, estimate
from .formatting import amount, percent
from .tables import grid


def steps_to(steps: Sequence[float], losses: Sequence[float], target: float) -> float:
    """When a loss was first as low as a target, linear between evaluations.

    Args:
        steps: Of the evaluations, ascending.
        losses: What they measured.
        target: The loss to reach.

    Returns:
        The step; NaN if it was never reached.
    """
    for number, loss in enumerate(losses):
        if loss <= target:
            if number == 0:
                return float(steps[0])
            before, since = losses[number - 1], steps[number - 1]
            return float(since + (steps[number] - since) * (before - target) / (before - loss))
    return math.nan


def needed(arm: Arm, baseline: Arm) -> dict[int, float]:
    """Seed -> the share of the baseline's steps after which an arm has the loss with which the baseline ends.

    NaN where it never has. Only seeds of which the baseline's run completed.
    """
    ends = dict(zip(baseline.completed["seed"], baseline.completed["validation_loss"], strict=True))
    lengths = dict(zip(baseline.completed["seed"], baseline.completed["step"], strict=True))
    shares = {}
    for run in arm.runs[arm.runs["seed"].isin(list(ends))].itertuples():
        curve = arm.curves[(arm.curves["hash"] == run.hash) & (arm.curves["split"] == "validation")]
        curve = curve[np.isfinite(curve["loss"])]
        shares[int(run.seed)] = steps_to(curve["step"].tolist(), curve["loss"].tolist(), ends[run.seed]) / lengths[run.seed]
    return shares


def saved(shares: dict[int, float]) -> Estimate:
    """The share of compute that was saved, over the seeds that reached the loss."""
    return estimate(1 - share for share in shares.values())


def compute_table(arms: Sequence[Arm], baseline: str) -> str:
    """What each arm needs to reach the loss with which the baseline ends, as Markdown; it is one of the arms."""
    reference = next(arm for arm in arms if arm.name == baseline)
    rows = []
    for arm in arms:
        shares = needed(arm, reference)
        reached = [share for share in shares.values() if not math.isnan(share)]
        mean = sum(reached) / len(reached) if reached else math.nan
        work = [mean * total.mean for total in (estimate(reference.completed["step"]), reference.tokens, reference.flops)]
        gain = percent(saved(shares)) if reached else "–"
        rows.append([arm.label, f"{len(reached)} of {len(shares)}", *map(amount, work), "–" if arm is reference else gain])
    return grid(["initializer", "reached", "steps", "tokens", "FLOPs", "compute saved, %"], rows)
