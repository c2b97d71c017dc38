"""The sums of steps on the device, and what the first loss that is not finite does."""

import math

import pytest
import torch
from torch import nn

from idinit_suite.optim.optimizers import OPTIMIZERS
from idinit_suite.training.step_sums import StepSums

CPU = torch.device("cpu")


def step(loss: float, correct: float = 1.0, answers: float = 2.0) -> torch.Tensor:
    return torch.tensor([loss, correct, answers], dtype=torch.float64)


def test_means_are_those_since_the_last_row() -> None:
    sums = StepSums(CPU)
    for loss in (1.0, 2.0):
        sums.add(step(loss))
    assert sums.read().finite == 2
    sums.add(step(6.0, correct=0.0))
    assert sums.read().finite == 1
    assert sums.take() == {"loss": 3.0, "accuracy": 2 / 6}
    sums.add(step(5.0))
    sums.read()
    assert sums.take() == {"loss": 5.0, "accuracy": 0.5}


def test_they_go_on_from_a_checkpoint() -> None:
    before, after = StepSums(CPU), StepSums(CPU)
    before.add(step(1.0))
    before.read()
    after.load_state_dict(before.state_dict())
    after.add(step(3.0))
    assert after.read().finite == 1
    assert after.take()["loss"] == 2.0


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_the_first_loss_that_is_not_finite_ends_the_count(loss: float) -> None:
    sums = StepSums(CPU)
    for value in (1.0, loss, 1.0, loss):
        sums.add(step(value))
    reading = sums.read()
    assert (reading.finite, reading.diverged) == (1, True)
    assert sums.state_dict()["loss"] == 1.0


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_no_weight_changes_from_then_on(name: str) -> None:
    model = nn.Linear(3, 3)
    optimizer = OPTIMIZERS[name].build(model)
    sums = StepSums(CPU)
    weights = []
    for loss in (1.0, math.nan, 1.0):
        model(torch.ones(2, 3)).square().sum().backward()
        sums.add(step(loss))
        optimizer.found_inf = sums.found_inf
        optimizer.step()
        optimizer.zero_grad()
        weights.append(model.weight.detach().clone())
    assert torch.equal(weights[1], weights[0]) and torch.equal(weights[2], weights[0])
