"""The search before the main runs: what it found, read from the archive."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from ..archive.runs import load
from ..config import RunConfig
from ..data import DATASETS
from ..data.spec import MaskedTokens
from .grid import Experiment


def pick(experiment: Experiment, searches: Sequence[RunConfig], results: Path) -> dict[str, float]:
    """For each arm the value of the search whose run ended with the highest validation accuracy, or the lowest loss.

    The loss is what counts for a language model: rates differ in it long before they do in the share of right guesses. For the
    same reason it decides between equal accuracies, such as those of an arm that is still at chance. A diverged run ranks
    below all others; of equals the smaller value is taken. An arm whose search is not complete is left out: picked from fewer
    values, its rate would not be comparable.
    """
    tune = experiment.grid.tune
    if tune is None or not searches:
        return {}
    rows = load(results).runs.set_index("hash")
    unfinished: set[str] = set()
    best: dict[str, tuple[float, float, float]] = {}
    for config, value in zip(searches, tune.values * len(experiment.grid.arms), strict=True):
        if config.hash not in rows.index:
            unfinished.add(config.arm)
            continue
        row = rows.loc[config.hash]
        accuracy, loss = -math.inf, math.inf
        if row["state"] == "done":
            guesses_tokens = DATASETS[config.data["name"]].facts["gives"] is MaskedTokens
            accuracy, loss = 0.0 if guesses_tokens else float(row["validation_accuracy"]), float(row["validation_loss"])
        score = (accuracy, -loss, -value)
        best[config.arm] = max(best.get(config.arm, score), score)
    return {arm: -negated for arm, (_, _, negated) in best.items() if arm not in unfinished}
