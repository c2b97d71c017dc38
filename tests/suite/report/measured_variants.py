"""Variants as they were measured, made of final accuracies or curves."""

from __future__ import annotations

import math

import numpy as np

from idinit_suite.report.measured import Curve, Measured


def variants(last: float = 3, losses: bool = False, **finals: list[float | list[float] | None]) -> dict[str, Measured]:
    """``variants(idinit=[0.9, None])``: final accuracies of a variant's seeds; None for a run that diverged.

    A list in place of a number is a whole validation curve, from before training on, with an evaluation after each epoch.
    """
    found = {}
    for name, values in finals.items():
        accuracy, curves = {}, {}
        for seed, value in enumerate(values):
            end = math.nan if value is None else value
            points = np.array(
                value if isinstance(value, list) else [end if losses else 0.1, *[end] * int(last)], dtype=np.float64
            )
            accuracy[seed] = math.nan if value is None else float(points[-1])
            epochs = np.arange(len(points), dtype=np.float64)
            curves[seed] = Curve(100 * epochs, epochs, points, points if losses else -np.log(points))
        found[name] = Measured(accuracy, curves, 0.0 if losses else 0.1, last)
    return found
