from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from idinit_suite.studies.base import STUDIES, Setting
from idinit_suite.studies.depth.measure import TAIL
from idinit_suite.studies.tools.short_training import Recipe, ShortTraining

HERE = Setting(Path("data"), torch.device("cpu"))


@pytest.mark.parametrize(("start", "rate"), [("idinit", 0.01), ("kaiming", 1e6)])
def test_the_loss_is_the_mean_of_the_last_steps_and_missing_where_it_diverged(start: str, rate: float) -> None:
    options = {"depths": (8,), "starts": (start,), "rates": (rate,), "seeds": (0,), "steps": 2 * TAIL}
    ((row,),) = [list(cell.measure()) for cell in STUDIES["depth"].build(HERE, **options)]
    training = ShortTraining(Recipe(HERE, "digits", 4, 16, "adam", rate, 2 * TAIL), start, {}, {"depth": 8}, 0)
    training.run()
    if start == "kaiming":
        assert math.isnan(row.values["loss"]) and row.values["steps"] == len(training.losses) < 2 * TAIL
    else:
        assert row.values["loss"] == pytest.approx(sum(training.losses[-TAIL:]) / TAIL, rel=1e-6)
        assert row.values["loss"] < training.losses[0]
