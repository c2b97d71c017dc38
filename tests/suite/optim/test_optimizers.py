import pytest
import torch
from torch import nn

from idinit import initialize_
from idinit.errors import UsageError
from idinit_suite.data import Images
from idinit_suite.models import MODELS
from idinit_suite.optim.optimizers import OPTIMIZERS, set_rate


def network() -> nn.Module:
    model = MODELS["resnet"].build(Images((3, 32, 32), 10), depth=8)
    initialize_(model, "fixup", (torch.zeros(1, 3, 32, 32),))
    return model


def rates(optimizer: torch.optim.Optimizer) -> set[float]:
    return {round(group["lr"], 12) for group in optimizer.param_groups}


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_every_parameter_is_in_one_group_and_scalars_learn_at_a_tenth(name: str) -> None:
    model = network()
    optimizer = OPTIMIZERS[name].build(model, **OPTIMIZERS.check(name, {"lr": 0.5}))
    grouped = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert len(grouped) == len(set(grouped)) and set(grouped) == set(model.parameters())
    assert rates(optimizer) == {0.5, 0.05}
    for group in optimizer.param_groups:
        is_scalar = {parameter.numel() == 1 for parameter in group["params"]}
        assert is_scalar == {group["lr"] < 0.5}


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_the_schedule_scales_every_group_from_its_own_rate(name: str) -> None:
    optimizer = OPTIMIZERS[name].build(network(), **OPTIMIZERS.check(name, {"lr": 0.5}))
    for factor in (0.1, 1.0, 0.2):
        set_rate(optimizer, factor)
        assert rates(optimizer) == {round(0.5 * factor, 12), round(0.05 * factor, 12)}


def test_weight_decay_spares_what_it_is_told_to() -> None:
    model = network()
    for decay, expected in (("all", {1e-4}), ("weights", {1e-4, 0.0})):
        optimizer = OPTIMIZERS["sgd"].build(model, lr=0.1, weight_decay=1e-4, decay=decay)
        assert {group["weight_decay"] for group in optimizer.param_groups} == expected
        spared = [p for group in optimizer.param_groups if not group["weight_decay"] for p in group["params"]]
        assert all(p.ndim < 2 for p in spared)


def test_sgd_takes_the_step_of_its_formula() -> None:
    weight = nn.Linear(2, 1, bias=False)
    nn.init.ones_(weight.weight)
    optimizer = OPTIMIZERS["sgd"].build(weight, lr=0.1, momentum=0.9, weight_decay=0.5, nesterov=False, decay="all")
    value, velocity = 1.0, 0.0
    for _ in range(3):
        optimizer.zero_grad()
        weight(torch.tensor([[2.0, 2.0]])).sum().backward()
        optimizer.step()
        velocity = 0.9 * velocity + (2.0 + 0.5 * value)
        value -= 0.1 * velocity
        assert weight.weight.detach().flatten().tolist() == pytest.approx([value, value], rel=1e-6)


def test_nesterov_without_momentum_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="momentum"):
        OPTIMIZERS["sgd"].build(nn.Linear(1, 1), lr=0.1, momentum=0.0, nesterov=True)
