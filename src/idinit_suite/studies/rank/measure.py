"""The number of directions of a wide middle layer that training uses, when the input has fewer (claim C11)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Annotated, Any, Literal, get_args

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional as F

from idinit.errors import UsageError
from idinit.init import identity_
from idinit.initialize import initialize_

from ...seeds import generator
from ..base import STUDIES, Cell, Row, Setting
from ..tools.small_images import small_images
from ..tools.vmapped_training import OptimizerName, Weights, in_batches, spaced, train_many, with_momentum

Data = Literal["digits", "cifar10"]
Start = Literal["zero_padded", "zero", "idinit", "loose"]
SIDES: dict[Data, int] = {"digits": 8, "cifar10": 16}  # 64 and 768 inputs
CLASSES = 10
PROBED = 1000  # examples on which the loss is measured
THRESHOLD = 1e-6  # of the largest singular value: numerically not zero
COARSE = 1e-2  # of it: large enough to matter


@STUDIES.register("rank")
def rank(
    setting: Setting,
    *,
    problems: tuple[tuple[Data, Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]], ...] = (("digits", 256, 3),),
    depth: Annotated[int, Field(ge=3)] = 3,
    starts: tuple[Start, ...] = get_args(Start),
    optimizers: tuple[OptimizerName, ...] = ("sgd", "momentum"),
    rate: PositiveFloat = 0.05,
    batch: Annotated[int, Field(ge=1)] = 64,
    steps: Annotated[int, Field(ge=1)] = 1000,
    seeds: tuple[int, ...] = (0, 1, 2),
    thresholds: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.1, 0.01, 1e-3, 1e-4, 1e-6, 1e-9),
) -> Iterator[Cell]:
    """A perceptron with ReLU, wider than its input, learns to classify images; the change of its middle layers has a rank.

    Without biases and weight decay: nothing but the gradient of the loss moves a weight. Numbers are float64, so that small
    singular values are not rounding errors.

    Args:
        setting: Where it is computed.
        problems: Data set, hidden units, and how many of the seeds to take. Images are averaged down to 64 inputs (digits,
            8x8) and 768 (CIFAR-10, 16x16).
        depth: Weight layers; all but the first and the last are square.
        starts: ``zero_padded``: the first layer is an identity on top of zeros; ``idinit``: stacked identities; ``loose``
            likewise with a normal of standard deviation 1e-6 around their ones. Of all three the last layer is torch's
            default. ``zero`` is ZerO: a Hadamard matrix, and a last layer that is an identity.
        optimizers: Optimizers; ``momentum`` gets a tenth of the rate, so that the effective rate is the same.
        rate: Learning rate.
        batch: Examples in a step.
        steps: Updates.
        seeds: Of the order of examples and of what is random in the initial weights.
        thresholds: Shares of the largest singular value above which one counts.

    Raises:
        UsageError: If a threshold is missing by which the claim is judged.
    """
    if not {THRESHOLD, COARSE} <= set(thresholds):
        raise UsageError(
            f"thresholds={list(thresholds)}: {COARSE:g} and {THRESHOLD:g} must be among them, as claim C11 needs both"
        )

    def measure(data: Data, width: int, seeds: Sequence[int], optimizer: OptimizerName) -> Iterator[Row]:
        images = small_images(data, setting.data, SIDES[data])
        x, y = images.inputs.to(setting.device), images.labels.to(setting.device)
        labels = list(product(starts, seeds))
        nets = [_network(start, x.shape[1], width, depth, seed) for start, seed in labels]
        names = [name for name, _ in nets[0].named_parameters()]
        weights = {name: torch.stack([net.get_parameter(name).detach() for net in nets]).to(setting.device) for name in names}
        order = in_batches(len(x), batch, [generator(seed, "order") for seed in seeds])

        def loss(own: Weights, x: Tensor, y: Tensor) -> Tensor:
            return F.cross_entropy(torch.func.functional_call(nets[0], own, (x,)), y)

        def at(step: int) -> tuple[Tensor, ...]:
            chosen = order(step).repeat(len(starts), 1)  # labels go through all seeds of a start first
            return x[chosen], y[chosen]

        rates = with_momentum([rate], optimizer)
        cell: dict[str, Any] = {"data": images.source, "inputs": x.shape[1], "width": width, "optimizer": optimizer}
        for step, trained in train_many(loss, weights, at, rates=rates, optimizer=optimizer, watch=spaced(steps, 4)):
            now = {name: w[0] for name, w in trained.items()}
            for i, (start, seed) in enumerate(labels):
                own = {name: w[i] for name, w in now.items()}
                logits = torch.func.functional_call(nets[0], own, (x[:PROBED],))
                place = {**cell, "start": start, "seed": seed, "step": step}
                error = F.cross_entropy(logits, y[:PROBED]).item()
                yield Row(
                    "losses", {**place, "loss": error, "accuracy": (logits.argmax(1) == y[:PROBED]).double().mean().item()}
                )
                if step == 0:
                    continue
                for layer, name in enumerate(names[1:-1], start=2):
                    values = torch.linalg.svdvals(own[name] - weights[name][i]).cpu()
                    for threshold in thresholds:
                        count = int((values > threshold * values[0]).sum())
                        yield Row("ranks", {**place, "layer": layer, "threshold": threshold, "rank": count})
                    if step == steps and seed == seeds[0]:
                        yield from _spectrum({**cell, "start": start, "layer": layer}, values)

    for (data, width, count), optimizer in product(problems, optimizers):
        yield Cell(f"{data}, width {width}, {optimizer}", partial(measure, data, width, seeds[:count], optimizer))


def _network(start: Start, inputs: int, width: int, depth: int, seed: int) -> nn.Sequential:
    sizes = [inputs, *[width] * (depth - 1), CLASSES]
    layers: list[nn.Module] = []
    for size_in, size_out in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(size_in, size_out, bias=False, dtype=torch.float64), nn.ReLU()]
    net = nn.Sequential(*layers[:-1])
    method = "zero" if start == "zero" else "idinit"
    options: dict[str, Any] = {"loose": True} if start == "loose" else {}
    initialize_(net, method, (torch.zeros(1, inputs, dtype=torch.float64),), generator=generator(seed, "init"), **options)
    if start == "zero_padded":
        identity_(net.get_parameter("0.weight").data)[inputs:] = 0
    return net


def _spectrum(place: Mapping[str, Any], values: Tensor) -> Iterator[Row]:
    for index in range(0, len(values), max(1, len(values) // 128)):
        yield Row("spectrum", {**place, "index": index + 1, "share": (values[index] / values[0]).item()})
