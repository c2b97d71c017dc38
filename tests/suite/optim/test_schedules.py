import math

import pytest

from idinit.errors import UsageError
from idinit_suite.optim.schedules import SCHEDULES


def factors(name: str, steps: int, **options: object) -> list[float]:
    return [SCHEDULES[name].build(step, steps, **SCHEDULES.check(name, options)) for step in range(steps)]


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_warms_up_linearly_and_never_starts_at_zero(name: str) -> None:
    assert factors(name, 20, warmup=0.2)[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0], abs=1e-12)


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_stays_between_zero_and_one(name: str) -> None:
    assert all(0 < factor <= 1 for factor in factors(name, 50, warmup=0.1))


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_one_step_trains_at_the_full_rate(name: str) -> None:
    assert factors(name, 1) == [1.0]


def test_linear_falls_by_equal_amounts_to_just_above_zero() -> None:
    assert factors("linear", 5) == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])


def test_cosine_is_half_a_wave() -> None:
    assert factors("cosine", 4) == pytest.approx([1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2])


def test_step_divides_by_ten_at_half_and_three_quarters() -> None:
    assert factors("step", 8) == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_constant_is_constant() -> None:
    assert factors("constant", 3) == [1.0, 1.0, 1.0]


def test_unknown_schedule_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="'cosin'.*'cosine'"):
        SCHEDULES["cosin"]
