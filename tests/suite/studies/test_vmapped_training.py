"""Networks trained side by side end where each would end alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from idinit.errors import UsageError
from idinit_suite.studies.tools.vmapped_training import MOMENTUM, OPTIMIZERS, Weights, in_batches, spaced, train_many

RATES = (0.01, 0.1)
SEEDS = (0, 1, 2)
STEPS = 12


def data(seed: int) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(100 + seed)
    return torch.randn(20, 4, generator=g), torch.randint(3, (20,), generator=g)


def network(seed: int) -> nn.Sequential:
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    g = torch.Generator().manual_seed(seed)
    for p in net.parameters():
        p.data.normal_(0, 0.5, generator=g)
    return net


def order(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(200 + seed)


def alone(seed: int, rate: float, optimizer: str) -> dict[str, Tensor]:
    """One network, one learning rate, in a loop as anybody would write it."""
    net, (x, y) = network(seed), data(seed)
    kinds = {"sgd": torch.optim.SGD, "momentum": torch.optim.SGD, "adagrad": torch.optim.Adagrad, "adam": torch.optim.Adam}
    update = kinds[optimizer](net.parameters(), lr=rate, **({"momentum": MOMENTUM} if optimizer == "momentum" else {}))
    shuffle = order(seed)
    for step in range(STEPS):
        if step % 4 == 0:
            permutation = torch.randperm(20, generator=shuffle)
        batch = permutation[5 * (step % 4) : 5 * (step % 4) + 5]
        update.zero_grad()
        F.cross_entropy(net(x[batch]), y[batch]).backward()
        update.step()
    return dict(net.named_parameters())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_side_by_side_equals_one_after_the_other(optimizer: str) -> None:
    nets = [network(seed) for seed in SEEDS]
    x, y = (torch.stack(tensors) for tensors in zip(*map(data, SEEDS), strict=True))
    batch, rows = in_batches(20, 5, [order(seed) for seed in SEEDS]), torch.arange(len(SEEDS))[:, None]

    def loss(weights: Weights, x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(torch.func.functional_call(nets[0], weights, (x,)), y)

    def at(step: int) -> tuple[Tensor, ...]:
        chosen = batch(step)
        return x[rows, chosen], y[rows, chosen]

    start = {name: torch.stack([dict(net.named_parameters())[name] for net in nets]) for name, _ in nets[0].named_parameters()}
    steps = dict(train_many(loss, start, at, rates=RATES, optimizer=optimizer, watch=[0, STEPS]))  # type: ignore[arg-type]
    assert all(torch.equal(steps[0][name], torch.stack([w] * len(RATES))) for name, w in start.items())
    for i, rate in enumerate(RATES):
        for j, seed in enumerate(SEEDS):
            for name, expected in alone(seed, rate, optimizer).items():
                assert torch.allclose(steps[STEPS][name][i, j], expected, rtol=1e-4, atol=1e-6), (name, rate, seed)


def test_a_network_that_diverges_leaves_the_others_alone() -> None:
    start = {"w": torch.tensor([1.0, 1e-3])}
    steps = train_many(
        lambda weights, sign: sign * weights["w"] ** 4,
        start,
        lambda step: (torch.tensor([1.0, 1.0]),),
        rates=[1.0, 0.01],
        optimizer="sgd",
        watch=[30],
    )
    ((_, weights),) = steps
    assert weights["w"].isfinite().tolist() == [[False, True], [True, True]]


def test_each_epoch_has_every_example_once_and_full_batches_keep_their_order() -> None:
    batch = in_batches(10, 3, [order(0), order(1)])
    epochs = [torch.cat([batch(step) for step in range(3 * e, 3 * e + 3)], dim=1) for e in range(2)]
    for indices in epochs:
        assert all(len(set(row)) == 9 for row in indices.tolist())
    assert epochs[0].tolist() != epochs[1].tolist() and epochs[0][0].tolist() != epochs[0][1].tolist()
    assert in_batches(4, 4, [order(0)])(7).tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize(("steps", "count"), [(1, 5), (20, 40), (2000, 30)])
def test_spaced_steps_have_both_ends_and_no_more_than_asked(steps: int, count: int) -> None:
    found = spaced(steps, count)
    assert found[0] == 0 and found[-1] == steps and found == sorted(set(found)) and len(found) <= count + 1


def test_a_batch_of_more_examples_than_there_are_is_refused() -> None:
    with pytest.raises(UsageError, match="5.* 4 examples"):
        in_batches(4, 5, [order(0)])
