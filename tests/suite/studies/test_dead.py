from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from idinit_suite.studies.base import STUDIES, Setting
from idinit_suite.studies.dead.measure import MAP_LEVELS, as_map

HERE = Setting(Path("data"), torch.device("cpu"))


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    """A ResNet-8 after four steps: three branches, of 16, 32 and 64 channels."""
    starts = ("zero_end", "idiz_1e-6", "zero_end_projection")
    cells = STUDIES["dead"].build(HERE, starts=starts, depth=8, steps=4, seeds=(0,))
    rows = [row for cell in cells for row in cell.measure()]
    return {name: pd.DataFrame([r.values for r in rows if r.table == name]) for name in ("unmoved", "shares", "maps")}


def unmoved(tables: dict[str, pd.DataFrame], start: str, part: str) -> float:
    table = tables["unmoved"].set_index(["start", "part", "tolerance"])["share"]
    return float(table[start, part, 0.0])


def test_exact_zeros_leave_every_weight_into_a_padded_channel_dead(tables: dict[str, pd.DataFrame]) -> None:
    # rows of the last weights: 0 of 16, 16 of 32, 48 of 64, in proportion to the weights of each, 1 : 4 : 16
    share = (0 * 1 + 0.5 * 4 + 0.75 * 16) / 21
    assert share <= unmoved(tables, "zero_end", "branch_end") < share + 0.05
    last = tables["maps"][tables["maps"]["start"] == "zero_end"].sort_values("row")["levels"].tolist()
    assert all(set(row) == {"."} for row in last[16:]) and not any(set(row) == {"."} for row in last[:16])


@pytest.mark.parametrize("start", ["idiz_1e-6", "zero_end_projection"])
def test_idiz_or_projections_let_nearly_all_move(tables: dict[str, pd.DataFrame], start: str) -> None:
    assert unmoved(tables, start, "branch_end") < 0.1 < unmoved(tables, "zero_end", "both")


def test_a_higher_tolerance_counts_no_fewer(tables: dict[str, pd.DataFrame]) -> None:
    for _, own in tables["unmoved"].groupby(["start", "part"]):
        assert own.sort_values("tolerance")["share"].is_monotonic_increasing


def test_a_map_shows_the_decades_of_the_tap_that_moved_most() -> None:
    change = torch.zeros(2, 2, 3, 3)
    change[0, 0, 1, 1] = 20.0  # ten times the typical change: the last letter
    change[0, 1, 0, 2] = -2e-6
    change[1, 0, 2, 2], change[1, 0, 0, 0] = 2e-20, -2 * 10**-2.5
    assert as_map(change, 2.0) == [MAP_LEVELS[-1] + MAP_LEVELS[1], MAP_LEVELS[5] + MAP_LEVELS[0]]
