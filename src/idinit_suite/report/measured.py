"""Measurements of one variant by seed, from which verdicts are made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..archive.variants import MARGIN, Variant
from ..statistics.estimates import Estimate, estimate, first_crossing


@dataclass(frozen=True)
class Curve:
    """The evaluations of one run on the validation split, in the order of training; all arrays have the same length."""

    step: np.ndarray
    epoch: np.ndarray
    accuracy: np.ndarray
    loss: np.ndarray


@dataclass(frozen=True)
class Measured:
    """The runs of one variant with one recipe.

    Attributes:
        accuracy: Seed -> accuracy after the last epoch, NaN for a run that diverged; see `Variant.finals`.
        curves: Seed -> its evaluations.
        chance: The accuracy of a guess.
        last: The last epoch of the budget.
    """

    accuracy: Mapping[int, float]
    curves: Mapping[int, Curve]
    chance: float
    last: float

    @property
    def seeds(self) -> frozenset[int]:
        """All seeds, those of runs that diverged included."""
        return frozenset(self.accuracy)

    @cached_property
    def diverged(self) -> frozenset[int]:
        """Seeds of the runs that diverged."""
        return frozenset(seed for seed, value in self.accuracy.items() if math.isnan(value))

    @cached_property
    def failed(self) -> frozenset[int]:
        """Seeds of the runs that diverged or ended no further above chance than ``MARGIN``."""
        return frozenset(seed for seed, value in self.accuracy.items() if not value > self.chance + MARGIN)

    @cached_property
    def finals(self) -> dict[int, float]:
        """Seed -> test accuracy after the last epoch; that of a guess for a run that diverged."""
        return {seed: self.chance if math.isnan(value) else value for seed, value in self.accuracy.items()}

    @cached_property
    def test(self) -> Estimate:
        """Test accuracy over the runs that completed."""
        return estimate(self.accuracy.values())

    @cached_property
    def loss(self) -> dict[int, float]:
        """Seed -> validation loss after the last step, of the runs that completed."""
        return {seed: float(self.curves[seed].loss[-1]) for seed in sorted(self.seeds - self.diverged) if seed in self.curves}

    def epochs_to(self, percent: float) -> dict[int, float]:
        """Seed -> the epoch, between two evaluations by a straight line, of a validation accuracy; infinity if never."""
        curves = self.curves.items()
        found = {seed: first_crossing(curve.epoch, curve.accuracy, percent / 100) for seed, curve in curves}
        return {seed: found.get(seed, math.inf) for seed in sorted(self.seeds)}


def measured(variant: Variant) -> Measured:
    """The numbers of a variant."""
    evaluations = variant.curves[variant.curves["split"] == "validation"]
    by_run = dict(iter(evaluations.groupby("hash")))
    curves = {}
    for run, seed in zip(variant.runs["hash"], variant.runs["seed"], strict=True):
        if run in by_run:
            columns = (by_run[run][name].to_numpy(dtype=np.float64) for name in ("step", "epoch", "accuracy", "loss"))
            curves[int(seed)] = Curve(*columns)
    return Measured(variant.finals, curves, variant.chance, variant.last)
