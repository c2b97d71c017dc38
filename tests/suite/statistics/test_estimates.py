from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from idinit_suite.statistics.estimates import Reached, estimate, first_crossing, first_epoch, interval_ends


def test_estimate_of_three_numbers_by_hand() -> None:
    # mean 2, sd 1; t(0.975, 2) = 4.302653 (tables); half width = 4.302653 / sqrt(3)
    result = estimate([1.0, 2.0, 3.0])
    assert (result.mean, result.sd, result.n) == (2.0, 1.0, 3)
    assert result.half_width == pytest.approx(4.302652729749464 / math.sqrt(3), rel=1e-9)


def test_interval_is_that_of_scipy() -> None:
    values = np.random.default_rng(0).normal(0.9, 0.01, size=7)
    low, high = stats.t.interval(0.95, 6, loc=values.mean(), scale=stats.sem(values))
    result = estimate(values)
    assert result.mean - result.half_width == pytest.approx(low, rel=1e-12)
    assert result.mean + result.half_width == pytest.approx(high, rel=1e-12)


def test_one_run_has_no_interval_and_none_has_no_mean() -> None:
    one, none = estimate([0.5]), estimate([])
    assert (one.mean, one.n) == (0.5, 1)
    assert math.isnan(one.sd) and math.isnan(one.half_width)
    assert none.n == 0 and math.isnan(none.mean)


def test_two_runs_have_no_interval() -> None:
    two = estimate([0.1, 0.622])  # it would be 12.706 * 0.369 / 1.414, 332 points to each side
    assert two.mean == pytest.approx(0.361) and two.sd == pytest.approx(0.522 / math.sqrt(2)) and math.isnan(two.half_width)


def test_missing_values_are_left_out() -> None:
    assert estimate([0.1, math.nan, 0.3]).n == 2
    assert estimate([0.1, math.nan, 0.3]).mean == pytest.approx(0.2)


def test_equal_values_have_an_interval_of_width_zero() -> None:
    assert estimate([0.1, 0.1, 0.1]).half_width == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize(
    "values, most, ends",
    [
        ([0.5, 0.6, 0.7], 1.0, stats.t.interval(0.95, 2, loc=0.6, scale=0.1 / math.sqrt(3))),
        ([0.2, 0.9, 1.0], 1.0, (0.2, 1.0)),  # 0.7 ± 1.08
        ([0.1, 2.0, 9.0], math.inf, (0.1, 9.0)),  # below 0
        ([2.0, 2.5, 9.0], math.inf, (2.0, 9.0)),
        ([1.0, 1.0, 1.0], 1.0, (1.0, 1.0)),
        ([0.1, 0.5], 1.0, (math.nan, math.nan)),
    ],
)
def test_an_interval_beyond_what_is_possible_gives_way_to_the_range(
    values: list[float], most: float, ends: tuple[float, float]
) -> None:
    one = estimate(values)
    found = interval_ends(*np.array([one.mean, one.half_width, one.lowest, one.highest]), most)
    assert found == pytest.approx(ends, nan_ok=True)


def test_first_epoch_is_the_first_that_reaches_and_not_the_best() -> None:
    assert first_epoch([0, 1, 2, 3], [0.1, 0.65, 0.55, 0.8], 60) == 1
    assert first_epoch([0, 0.5, 1], [0.1, 0.6, 0.7], 60) == 0.5  # reaching it exactly counts
    assert math.isnan(first_epoch([0, 1, 2], [0.1, 0.4, 0.599], 60))
    assert math.isnan(first_epoch([], [], 60))


@pytest.mark.parametrize("percent", [60, 70, 80])
def test_an_accuracy_computed_in_float32_reaches_its_threshold(percent: int) -> None:
    accuracy = float(np.float32(percent) / np.float32(100))  # float32(0.7) < 0.7
    assert first_epoch([1], [accuracy], percent) == 1


def test_the_loss_between_two_evaluations_lies_on_a_line() -> None:
    steps, losses = [0, 100, 200, 300], np.array([7.0, 5.0, 4.0, 4.5])
    for target, step in ((7.0, 0), (6.0, 50), (4.25, 175), (4.0, 200), (3.9, math.inf)):
        assert first_crossing(steps, -losses, -target) == step
    assert first_crossing([0, 1, 2], [math.nan, 0.5, 0.9], 0.7) == 1.5
    assert first_crossing([0, 1], [math.nan, 0.9], 0.7) == 1, "nothing to draw a line from"
    assert first_crossing([0, 1], [0.1, np.float32(0.7)], 0.7) == 1, "a float32 accuracy is a little short"


def test_reached_shows_what_was_censored() -> None:
    assert str(Reached((2.0, 3.0, 3.5), last=5)) == "3"
    assert str(Reached((2.0, math.nan, 3.0), last=5)) == "3 (2 of 3)"  # half of the three, not of the two
    assert str(Reached((2.0, math.nan, math.nan), last=5)) == "> 5 (1 of 3)"
    assert str(Reached((math.nan, math.nan), last=3)) == "> 3"
    assert str(Reached((math.inf,), last=0.5)) == "> 0.5"
