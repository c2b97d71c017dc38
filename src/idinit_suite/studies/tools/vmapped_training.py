"""Many small networks trained at once: every start with every learning rate, as one batch of matrices."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.func import vmap
from torch.optim import SGD, Adagrad, Adam, Optimizer

from idinit.errors import UsageError

Weights = dict[str, Tensor]
Loss = Callable[..., Tensor]
OptimizerName = Literal["sgd", "momentum", "adagrad", "adam"]

MOMENTUM = 0.9
OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": SGD,
    "momentum": partial(SGD, momentum=MOMENTUM),
    "adagrad": Adagrad,
    "adam": Adam,
}


def train_many(
    loss: Loss,
    start: Weights,
    batch: Callable[[int], tuple[Tensor, ...]],
    *,
    rates: Sequence[float],
    optimizer: OptimizerName,
    watch: Collection[int],
) -> Iterator[tuple[int, Weights]]:
    """Trains every network with every learning rate; no network feels that there are others.

    torch's optimizers work element by element, so one of them trains all networks of a rate as one tensor.

    Args:
        loss: From the weights of one network and its part of a batch to a scalar.
        start: Initial weights: [networks, ...] for each name. They are left as they are.
        batch: From the number of a step, 0 for the first, to its data: tensors [networks, ...].
        rates: Learning rates.
        optimizer: Which of torch's optimizers, with its defaults; ``momentum`` is SGD with 0.9.
        watch: Steps after which the weights are wanted; 0 for the initial ones. Training ends with the last.

    Yields:
        Each of these steps with the weights after it, [rates, networks, ...] for each name, detached. A network that
        diverges has weights that are not finite.
    """
    groups = [{name: w.detach().clone().requires_grad_() for name, w in start.items()} for _ in rates]
    update = OPTIMIZERS[optimizer](
        [{"params": list(group.values()), "lr": rate} for group, rate in zip(groups, rates, strict=True)], lr=0.0
    )
    losses = vmap(lambda weights, data: vmap(loss)(weights, *data), in_dims=(0, None))
    for step in range(max(watch) + 1):
        weights = {name: torch.stack([group[name] for group in groups]) for name in start}
        if step in watch:
            yield step, {name: w.detach() for name, w in weights.items()}
        if step < max(watch):
            update.zero_grad()
            losses(weights, batch(step)).sum().backward()
            update.step()


def with_momentum(rates: Sequence[float], optimizer: OptimizerName) -> list[float]:
    """Learning rates by effective ones, lr / (1 - momentum): a tenth of these where the optimizer has momentum."""
    return [rate * (1 - MOMENTUM if optimizer == "momentum" else 1.0) for rate in rates]


def spaced(steps: int, count: int) -> list[int]:
    """About ``count`` whole numbers from 0 to ``steps``, both included, close to equal ratios."""
    ratios = torch.logspace(0, torch.log10(torch.tensor(float(max(steps, 1)))).item(), count, dtype=torch.float64)
    return sorted({0, *(round(r) for r in ratios.tolist()), steps})


def in_batches(count: int, size: int, seeds: Sequence[torch.Generator]) -> Callable[[int], Tensor]:
    """The examples of each step, in a new order each epoch and with no example left for a smaller batch.

    Args:
        count: Number of examples.
        size: Examples in a batch; with ``count`` of them every batch is all of the data, in their own order.
        seeds: A generator for each network.

    Returns:
        From the number of a step to indices [networks, size]. Steps are asked for in ascending order.

    Raises:
        UsageError: If there are fewer examples than a batch has.
    """
    if size > count:
        raise UsageError(f"a batch of {size}: there are only {count} examples")
    orders = torch.arange(count).repeat(len(seeds), 1)

    def at(step: int) -> Tensor:
        nonlocal orders
        place = step % (count // size)
        if place == 0 and size < count:
            orders = torch.stack([torch.randperm(count, generator=g) for g in seeds])
        return orders[:, place * size : (place + 1) * size]

    return at
