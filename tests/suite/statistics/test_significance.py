"""The tests behind verdicts: against scipy, against chance, and for differences that are there."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from idinit_suite.statistics.significance import ALPHA, equivalence, gain, holm, more_often, paired

INF = math.inf


def test_a_gain_is_the_paired_t_test() -> None:
    a, b = {0: 0.5, 1: 0.6, 2: 0.9, 3: 0.7}, {0: 0.4, 1: 0.4, 2: 0.6, 7: 0.1}
    found = gain(paired(a, b))
    expected = stats.ttest_rel([0.5, 0.6, 0.9], [0.4, 0.4, 0.6], alternative="greater")
    both_sided = stats.ttest_rel([0.5, 0.6, 0.9], [0.4, 0.4, 0.6]).confidence_interval()
    assert found.mean == pytest.approx(0.2) and found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == (pytest.approx(both_sided.low), pytest.approx(both_sided.high))
    assert gain(paired(b, a)).p == pytest.approx(1 - found.p)


@pytest.mark.parametrize(
    ("differences", "mean", "p"),
    [
        ([], math.nan, 1),
        ([0.5], 0.5, 1),
        ([0.5, 0.5], 0.5, 1),  # two seeds show nothing
        ([0.5, 0.5, 0.5], 0.5, 0),
        ([0.0, 0.0, 0.0], 0.0, 1),
        ([-0.5, -0.5, -0.5], -0.5, 1),
        ([9.0, 9.0, -INF], -INF, 1),
    ],
)
def test_gains_at_the_limits(differences: list[float], mean: float, p: float) -> None:
    found = gain(differences)
    assert found.mean == pytest.approx(mean, nan_ok=True) and found.p == p


@pytest.mark.parametrize("n", [3, 5])
def test_equivalence_is_found_where_it_is_and_hardly_ever_where_it_is_not(n: int) -> None:
    rng = np.random.default_rng(n)
    found = [equivalence(row, 1.0) <= ALPHA for row in rng.normal(0, 0.2, (400, n))]
    assert np.mean(found) > 0.9
    at_the_margin = [equivalence(row, 1.0) <= ALPHA for row in rng.normal(1.0, 0.2, (400, n))]
    assert 0.02 <= np.mean(at_the_margin) <= 0.08
    noisy = [equivalence(row, 1.0) <= ALPHA for row in rng.normal(0, 5, (400, n))]
    assert np.mean(noisy) < 0.05, "no evidence of a difference is no evidence of a tie"


def test_equivalence_at_the_limits() -> None:
    assert equivalence([0.1, 0.1], 1.0) == 1 and equivalence([0.1] * 3, 1.0) == 0 and equivalence([2.0] * 3, 1.0) == 1


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([0.01, 0.04, 0.03], [True, False, False]),  # 0.05 / 3, then 0.03 > 0.05 / 2
        ([0.04, 0.01, 0.02], [True, True, True]),
        ([0.04], [True]),
        ([0.02, 0.02, 0.02], [False, False, False]),
        ([], []),
    ],
)
def test_holm(values: list[float], found: list[bool]) -> None:
    assert holm(values) == found


def test_more_often_is_the_exact_sign_test() -> None:
    assert more_often(5, 0).p == pytest.approx(1 / 32) and more_often(4, 0).p == pytest.approx(1 / 16)
    assert more_often(0, 0).p == 1 and more_often(3, 5).mean == -2
