from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from idinit_suite.statistics.paired import compare, interval, success


@pytest.mark.parametrize(
    ("draw", "n"),
    [
        (lambda rng, n: rng.normal(0.7, 0.1, n), 3),
        (lambda rng, n: rng.normal(0.7, 0.1, n), 5),
        (lambda rng, n: rng.normal(0.7, 0.1, n), 10),
        (lambda rng, n: rng.normal(0.7, 0.1, n), 6),
        (lambda rng, n: rng.uniform(0.2, 1.2, n), 8),
        (lambda rng, n: 0.7 + 0.1 * rng.laplace(size=n), 8),
    ],
    ids=["normal-3", "normal-5", "normal-10", "normal-6", "uniform-8", "laplace-8"],
)
def test_the_interval_covers_as_often_as_it_says(draw, n: int) -> None:
    rng = np.random.default_rng(1)
    found = np.array([interval(draw(rng, n)) for _ in range(600)])
    covered = int(((found[:, 0] <= 0.7) & (found[:, 1] >= 0.7)).sum())
    assert 0.92 <= covered / 600 <= 0.975  # 600 trials have a standard error of 0.009; few values cost a percent or two


def test_pairs_share_what_seeds_share() -> None:
    """Runs of one seed are alike: the interval of their difference is narrower than that of the difference of means."""
    rng = np.random.default_rng(0)
    luck = rng.normal(0, 0.05, 10)
    a = dict(enumerate(0.8 + luck + rng.normal(0, 0.002, 10)))
    b = dict(enumerate(0.79 + luck + rng.normal(0, 0.002, 10)))
    found = compare(a, b)
    welch = stats.ttest_ind(list(a.values()), list(b.values()), equal_var=False).confidence_interval()
    assert 0.005 < found.low < found.difference < found.high < 0.015
    assert (found.high - found.low) < (welch.high - welch.low) / 10
    assert found == compare(a, b), "the resamples are seeded"


def test_few_pairs_get_students_interval() -> None:
    found = compare({0: 0.5, 1: 0.6, 2: 0.9}, {0: 0.4, 1: 0.4, 2: 0.6, 7: 0.1})
    expected = stats.ttest_rel([0.5, 0.6, 0.9], [0.4, 0.4, 0.6]).confidence_interval(0.95)
    assert (found.pairs, found.completed, found.difference) == (3, 3, pytest.approx(0.2))
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_runs_that_diverged_lose_but_have_no_difference() -> None:
    nan = math.nan
    found = compare({0: 0.5, 1: nan, 2: 0.7, 3: nan, 4: 0.5}, {0: nan, 1: 0.1, 2: 0.6, 3: nan, 4: 0.5})
    assert found.improvement == pytest.approx((1 + 0 + 1 + 0.5 + 0.5) / 5)
    assert (found.pairs, found.completed, found.difference) == (5, 2, pytest.approx(0.05))


def test_without_seeds_in_common_there_is_nothing_to_say() -> None:
    found = compare({0: 0.5}, {1: 0.5})
    assert found.pairs == 0 and all(map(math.isnan, (found.difference, found.low, found.improvement)))


def test_one_pair_has_no_interval_and_equal_differences_one_of_width_zero() -> None:
    assert math.isnan(compare({0: 0.5}, {0: 0.25}).low)
    same = compare({0: 0.5, 1: 0.75}, {0: 0.25, 1: 0.5})
    assert (same.difference, same.low, same.high) == (0.25, 0.25, 0.25)


def test_rate_of_success_is_wilsons() -> None:
    z = stats.norm.ppf(0.975)
    middle, half = (4 + z * z / 2) / (5 + z * z), z / (5 + z * z) * math.sqrt(4 * 1 / 5 + z * z / 4)
    assert success(4, 5) == (pytest.approx(middle - half), pytest.approx(middle + half))
    assert success(5, 5)[1] == 1.0 and success(5, 5)[0] == pytest.approx(5 / (5 + z * z))
