"""The number and the interval on the card of a claim."""

import math

import pytest

from idinit_suite.report.verdicts.wording import interval_of
from idinit_suite.statistics.significance import gain


@pytest.mark.parametrize(
    "differences, shown",
    [([0.1, 0.2, 0.3], True), ([0.0, 0.9, 0.95], False), ([-0.9, 0.0, 0.1], False), ([0.1, 0.2], False)],
)
def test_a_card_has_no_interval_beyond_100_points(differences: list[float], shown: bool) -> None:
    one = gain(differences)
    interval = interval_of(one)
    assert interval == ((100 * one.low, 100 * one.mean, 100 * one.high) if shown else None)
    assert interval_of(gain([-1.6, -1.5, -1.4]), least=-math.inf) is not None, "twice the compute and more can be needed"
