"""The learning speed of a residual branch of two layers whose last weight is zero, by its first weight (claim C14)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Annotated, Literal, get_args

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional as F

from idinit.init import hadamard_, identity_, zero_preserving_

from ...seeds import generator
from ..base import STUDIES, Cell, Row, Setting
from ..tools.small_images import small_images
from ..tools.vmapped_training import OptimizerName, Weights, in_batches, train_many

Task = Literal["teacher", "digits"]
Start = Literal["kaiming", "xavier", "hadamard", "partial_identity", "identity", "identity_loose", "idinit"]

WATCHED = 20  # times that the loss is measured
INPUTS = 64


@STUDIES.register("branch")
def branch(
    setting: Setting,
    *,
    tasks: tuple[Task, ...] = get_args(Task),
    starts: tuple[Start, ...] = get_args(Start),
    optimizers: tuple[OptimizerName, ...] = ("adagrad", "sgd", "adam"),
    rates: tuple[PositiveFloat, ...] = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0),
    widths: tuple[Annotated[int, Field(ge=1)], ...] = (64, 256),
    examples: Annotated[int, Field(ge=1)] = 1024,
    batch: Annotated[int, Field(ge=1)] = 64,
    steps: Annotated[int, Field(ge=WATCHED)] = 400,
    seeds: tuple[int, ...] = (0, 1, 2),
) -> Iterator[Cell]:
    """x + W2 relu(W1 x) learns with W2 = 0 at first; only W1 differs.

    Args:
        setting: Where it is computed.
        tasks: ``teacher``: regression on a random branch of the same shape, from normal inputs. ``digits``: classifying digits
            of 8x8 pixels, by a linear layer on top that is trained with the branch and is torch's default at first.
        starts: W1: Kaiming or Xavier (normal), a Hadamard matrix (ZerO), an identity on top of zeros, stacked identities
            (IDI), these with a normal of standard deviation 1e-6 around their ones; ``idinit`` is IDI with IDIZ(1e-6) for W2.
        optimizers: Each with every rate.
        rates: Learning rates.
        widths: Units of the branch; inputs are 64.
        examples: Training examples.
        batch: Examples in a step.
        steps: Updates.
        seeds: Of examples, teacher, their order and what is random in the initial weights.
    """

    def measure(task: Task, width: int, optimizer: OptimizerName) -> Iterator[Row]:
        labels = list(product(starts, seeds))
        data = [_teacher(width, examples, s) if task == "teacher" else _digits(setting, examples) for s in seeds]
        x, y = (torch.stack(tensors).to(setting.device) for tensors in zip(*data, strict=True))
        begin = [make_start(start, width, x.shape[2], seed) for start, seed in labels]
        if task == "digits":
            for weights, (_, seed) in zip(begin, labels, strict=True):
                weights["head"] = nn.init.kaiming_uniform_(
                    torch.empty(10, x.shape[2]), 5**0.5, generator=generator(seed, "head")
                )
        weights = {name: torch.stack([w[name] for w in begin]).to(setting.device) for name in begin[0]}
        loss = _squared_error if task == "teacher" else _cross_entropy
        order = in_batches(x.shape[1], batch, [generator(seed, "order") for seed in seeds])
        seed_rows = torch.arange(len(seeds))[:, None]

        def for_all(tensor: Tensor) -> Tensor:
            return tensor.repeat(len(starts), *[1] * (tensor.ndim - 1))  # labels go through all seeds of a start first

        def at(step: int) -> tuple[Tensor, ...]:
            chosen = order(step)
            return for_all(x[seed_rows, chosen]), for_all(y[seed_rows, chosen])

        probe = for_all(x[:, : 4 * batch]), for_all(y[:, : 4 * batch])
        losses = torch.func.vmap(lambda w: torch.func.vmap(loss)(w, *probe))
        watch = {round(steps * i / WATCHED) for i in range(WATCHED + 1)}
        for step, trained in train_many(loss, weights, at, rates=rates, optimizer=optimizer, watch=watch):
            values = losses(trained).reshape(len(rates), len(starts), len(seeds)).cpu()
            for (i, rate), (j, start) in product(enumerate(rates), enumerate(starts)):
                place = {"task": task, "width": width, "optimizer": optimizer, "start": start, "rate": rate, "step": step}
                own = values[i, j]
                yield Row(
                    "curves", {**place, "mean": own.mean().item(), "lowest": own.min().item(), "highest": own.max().item()}
                )

    for task, width, optimizer in product(tasks, widths, optimizers):
        yield Cell(f"{task}, width {width}, {optimizer}", partial(measure, task, width, optimizer))


def _teacher(width: int, examples: int, seed: int) -> tuple[Tensor, Tensor]:
    g = generator(seed, "teacher")
    x = torch.randn(examples, INPUTS, generator=g)
    first = torch.randn(width, INPUTS, generator=g) * (2 / INPUTS) ** 0.5
    last = torch.randn(INPUTS, width, generator=g) * width**-0.5
    return x, x + torch.relu(x @ first.T) @ last.T


def _digits(setting: Setting, examples: int) -> tuple[Tensor, Tensor]:
    images = small_images("digits", setting.data, 8)
    return images.inputs[:examples].float(), images.labels[:examples]


def make_start(start: Start, width: int, inputs: int, seed: int) -> Weights:
    """Initial weights of the branch: ``first`` [width, inputs] and ``last`` [inputs, width]."""
    first, last, g = torch.empty(width, inputs), torch.zeros(inputs, width), generator(seed, "init")
    match start:
        case "kaiming":
            nn.init.kaiming_normal_(first, nonlinearity="relu", generator=g)
        case "xavier":
            nn.init.xavier_normal_(first, generator=g)
        case "hadamard":
            hadamard_(first)
        case "partial_identity":
            identity_(first)[inputs:] = 0
        case "identity":
            identity_(first)
        case "identity_loose":
            identity_(first, loose_std=1e-6, generator=g)
        case "idinit":
            identity_(first)
            zero_preserving_(last)
    return {"first": first, "last": last}


def _branch(weights: Weights, x: Tensor) -> Tensor:
    return x + torch.relu(x @ weights["first"].T) @ weights["last"].T


def _squared_error(weights: Weights, x: Tensor, y: Tensor) -> Tensor:
    return 0.5 * (_branch(weights, x) - y).square().mean()


def _cross_entropy(weights: Weights, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(_branch(weights, x) @ weights["head"].T, y)
