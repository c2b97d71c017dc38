"""What the rank study measures is what theory says of a tiny case."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from idinit_suite.studies.base import STUDIES, Setting
from idinit_suite.studies.tools.small_images import small_images

HERE = Setting(Path("data"), torch.device("cpu"))


@pytest.fixture(scope="module")
def ranks() -> pd.DataFrame:
    """Ranks after 20 steps on digits: 64 inputs, 160 hidden units."""
    options = {"problems": (("digits", 160, 1),), "optimizers": ("momentum",), "steps": 20, "seeds": (0,)}
    rows = [row for cell in STUDIES["rank"].build(HERE, **options) for row in cell.measure()]
    table = pd.DataFrame([row.values for row in rows if row.table == "ranks"])
    return table[table["step"] == 20].set_index(["start", "threshold"])["rank"]


def test_a_zero_padded_identity_never_leaves_the_width_of_the_input(ranks: pd.DataFrame) -> None:
    assert ranks["zero_padded"].max() <= 64


@pytest.mark.parametrize("start", ["idinit", "loose"])
def test_stacked_identities_do(ranks: pd.DataFrame, start: str) -> None:
    assert ranks[start, 1e-9] > 64


def test_a_lower_threshold_counts_no_less(ranks: pd.DataFrame) -> None:
    for _, own in ranks.groupby("start"):
        assert own.sort_index(ascending=False).is_monotonic_increasing


def test_small_images_are_means_of_pixels_of_size_one() -> None:
    images = small_images("digits", HERE.data, 8)
    assert images.inputs.shape == (1437, 64) and images.inputs.min() >= 0
    assert images.inputs.square().mean().item() == pytest.approx(1)
    assert torch.linalg.matrix_rank(images.inputs) > 55, "8x8 pixels are all that the enlarged digits hold"
