"""Learning rate schedules: the share of the base rate to use at each step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from idinit.registry import Registry

SCHEDULES: Registry[Callable[..., float], None] = Registry("schedule")
Warmup = Annotated[float, Field(ge=0, lt=1)]  # share of all steps: a short search run is then a run in miniature
Share = Annotated[float, Field(gt=0, lt=1)]


def _warm(step: int, steps: int, warmup: float) -> float | None:
    """Rises linearly during the warm-up, from 1 / length so that no step has a rate of zero; None after it."""
    length = round(warmup * steps)
    return (step + 1) / length if step < length else None


def _progress(step: int, steps: int, warmup: float) -> float:
    """0 at the first step after the warm-up, 1 at the end of training."""
    length = round(warmup * steps)
    return (step - length) / max(1, steps - length)


@SCHEDULES.register("constant")
def constant(step: int, steps: int, *, warmup: Warmup = 0.0) -> float:
    """The base rate throughout, after a linear warm-up."""
    warm = _warm(step, steps, warmup)
    return 1.0 if warm is None else warm


@SCHEDULES.register("linear")
def linear(step: int, steps: int, *, warmup: Warmup = 0.0) -> float:
    """Falls linearly to zero at the end of training, after a linear warm-up."""
    warm = _warm(step, steps, warmup)
    return 1.0 - _progress(step, steps, warmup) if warm is None else warm


@SCHEDULES.register("cosine")
def cosine(step: int, steps: int, *, warmup: Warmup = 0.0) -> float:
    """Falls to zero as half a cosine wave (Loshchilov & Hutter 2017, without restarts), after a linear warm-up."""
    warm = _warm(step, steps, warmup)
    return 0.5 * (1.0 + math.cos(math.pi * _progress(step, steps, warmup))) if warm is None else warm


@SCHEDULES.register("step")
def step_decay(
    step: int, steps: int, *, warmup: Warmup = 0.0, milestones: tuple[Share, ...] = (0.5, 0.75), gamma: Share = 0.1
) -> float:
    """Multiplied by ``gamma`` at each milestone, a share of all steps (He et al. 2016: half and three quarters)."""
    warm = _warm(step, steps, warmup)
    return gamma ** sum(step >= share * steps for share in milestones) if warm is None else warm
