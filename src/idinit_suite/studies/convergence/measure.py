"""Deep linear networks that start at the identity, and targets with negative eigenvalues (claim C10)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Annotated, Any, Literal, get_args

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn

from idinit.errors import UsageError
from idinit.initialize import initialize_

from ...seeds import generator
from ..base import STUDIES, Cell, Row, Setting
from ..tools.vmapped_training import Weights, in_batches, spaced, train_many, with_momentum

Target = Literal["positive", "minus_identity", "negative", "rotation"]
Start = Literal["identity", "loose", "loose_1e-3", "idinit", "xavier", "orthogonal"]

DRAWN_RATE = 0.1  # of which curves and eigenvalues are kept
LEARNED = 0.01  # relative error below which a target counts as learned
_METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "identity": ("idinit", {"head": "idi"}),
    "loose": ("idinit", {"head": "idi", "loose": True, "loose_std": 1e-6}),
    "loose_1e-3": ("idinit", {"head": "idi", "loose": True, "loose_std": 1e-3}),
    "idinit": ("idinit", {}),
    "xavier": ("xavier", {}),
    "orthogonal": ("orthogonal", {"gain": 1.0}),
}


@STUDIES.register("convergence")
def convergence(
    setting: Setting,
    *,
    size: Annotated[int, Field(ge=2)] = 10,
    depth: Annotated[int, Field(ge=2)] = 3,
    examples: Annotated[int, Field(ge=2)] = 256,
    batches: tuple[Annotated[int, Field(ge=1)], ...] = (256, 64, 16, 4),
    optimizers: tuple[Literal["sgd", "momentum"], ...] = ("sgd", "momentum"),
    rates: tuple[PositiveFloat, ...] = (0.01, 0.03, 0.1, 0.3),
    targets: tuple[Target, ...] = get_args(Target),
    starts: tuple[Start, ...] = get_args(Start),
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4),
    steps: Annotated[int, Field(ge=1)] = 2000,
) -> Iterator[Cell]:
    """A product of matrices learns a linear map from examples, in full and small batches, with and without momentum.

    The loss is half the mean squared distance of the outputs. Inputs are normal and then whitened, so that the gradient of
    a full batch is that of the population: small batches are the only noise. Targets have none, and the loss can reach 0.
    Numbers are float64.

    Args:
        setting: Where it is computed.
        size: Rows and columns of each matrix.
        depth: Number of matrices.
        examples: Size of the training set.
        batches: Batch sizes; that of the training set is full-batch gradient descent.
        optimizers: Without and with momentum 0.9. With it the learning rate is a tenth, so that the effective rate, lr /
            (1 - momentum), is the same.
        rates: Effective learning rates.
        targets: ``positive``: symmetric with eigenvalues from 1/2 to 2; ``minus_identity``; ``negative``: symmetric, every
            other eigenvalue -1, the rest 1; ``rotation``: random, of determinant 1.
        starts: Initial weights. ``identity`` has all matrices I, ``loose`` a normal of standard deviation 1e-6 on the
            diagonal; ``idinit`` is the library's default, whose last matrix is torch's.
        seeds: Of inputs, targets, initial weights and the order of examples.
        steps: Updates.

    Raises:
        UsageError: If the largest batch is not all of the examples.
    """
    if max(batches) != examples:
        raise UsageError(f"batches={list(batches)}: the largest must be all {examples} examples, which a full batch is")
    problem = _problem(size, depth, examples, targets, starts, seeds, setting.device)
    drawn = {examples, sorted(batches)[-3:][0]}  # batches of which eigenvalues are kept: all examples, and small ones
    for batch, optimizer in product(batches, optimizers):
        yield Cell(f"batch {batch}, {optimizer}", partial(_measure, problem, batch, optimizer, rates, steps, batch in drawn))


@dataclass(frozen=True)
class _Problem:
    """Networks with their targets: one for each of ``labels``, (target, start, seed)."""

    labels: list[tuple[Target, Start, int]]
    seeds: Sequence[int]
    inputs: Tensor  # [seeds, examples, size]
    targets: Tensor  # [networks, size, size]
    weights: Weights  # [networks, size, size] each

    def errors(self, weights: Weights) -> Tensor:
        """Squared distance from the target over that of 0: [rates, networks]."""
        distance = (_product(weights) - self.targets).pow(2).sum((-1, -2))
        return distance / self.targets.pow(2).sum((-1, -2))


def _problem(
    size: int,
    depth: int,
    examples: int,
    targets: Sequence[Target],
    starts: Sequence[Start],
    seeds: Sequence[int],
    device: torch.device,
) -> _Problem:
    labels = list(product(targets, starts, seeds))
    weights = {(start, seed): _start(start, size, depth, seed) for start, seed in product(starts, seeds)}
    return _Problem(
        labels,
        seeds,
        torch.stack([_inputs(examples, size, seed) for seed in seeds]).to(device),
        torch.stack([make_target(target, size, seed) for target, _, seed in labels]).to(device),
        {name: torch.stack([weights[label[1:]][name] for label in labels]).to(device) for name in next(iter(weights.values()))},
    )


def _inputs(examples: int, size: int, seed: int) -> Tensor:
    """Examples whose second moments are exactly those of a standard normal: [examples, size]."""
    x = torch.randn(examples, size, dtype=torch.float64, generator=generator(seed, "inputs"))
    return torch.linalg.qr(x).Q * examples**0.5


def make_target(target: Target, size: int, seed: int) -> Tensor:
    """A matrix to learn, [size, size] in float64."""
    random = torch.randn(size, size, dtype=torch.float64, generator=generator(seed, "target"))
    rotation = torch.linalg.qr(random).Q
    if torch.linalg.det(rotation) < 0:
        rotation[:, 0] *= -1
    match target:
        case "minus_identity":
            return -torch.eye(size, dtype=torch.float64)
        case "rotation":
            return rotation
        case "positive":
            eigenvalues = torch.logspace(-1, 1, size, base=2, dtype=torch.float64)
        case "negative":
            eigenvalues = torch.tensor([-1.0, 1.0], dtype=torch.float64).repeat(size)[:size]
    return rotation @ torch.diag(eigenvalues) @ rotation.T


def _start(start: Start, size: int, depth: int, seed: int) -> Weights:
    net = nn.Sequential(*(nn.Linear(size, size, bias=False, dtype=torch.float64) for _ in range(depth)))
    method, options = _METHODS[start]
    example = torch.zeros(1, size, dtype=torch.float64)
    initialize_(net, method, (example,), generator=generator(seed, "init"), **options)
    return {name: p.detach() for name, p in net.named_parameters()}


def _product(weights: Weights) -> Tensor:
    first, *others = weights.values()
    for w in others:
        first = w @ first
    return first


def _loss(weights: Weights, moments: Tensor, target: Tensor) -> Tensor:
    """Half the mean squared distance of the outputs, from the inputs' second moments: x only enters as x x^T."""
    distance = _product(weights) - target
    return 0.5 * (distance @ moments * distance).sum()


def _measure(
    problem: _Problem,
    batch: int,
    optimizer: Literal["sgd", "momentum"],
    rates: Sequence[float],
    steps: int,
    with_eigenvalues: bool,
) -> Iterator[Row]:
    order = in_batches(problem.inputs.shape[1], batch, [generator(seed, "order") for seed in problem.seeds])
    seeds = torch.arange(len(problem.seeds))[:, None]
    seed_of = [problem.seeds.index(seed) for _, _, seed in problem.labels]

    def data(step: int) -> tuple[Tensor, Tensor]:
        x = problem.inputs[seeds, order(step)]
        return (x.mT @ x / batch)[seed_of], problem.targets

    trained = train_many(
        _loss,
        problem.weights,
        data,
        rates=with_momentum(rates, optimizer),
        optimizer=optimizer,
        watch=spaced(steps, 40),
    )
    cell = {"batch": batch, "optimizer": optimizer}
    learned = torch.full((len(rates), len(problem.labels)), torch.inf)
    for step, weights in trained:
        errors = problem.errors(weights).cpu()
        learned = torch.where((errors < LEARNED) & learned.isinf(), float(step), learned)
        if DRAWN_RATE in rates:
            drawn = list(rates).index(DRAWN_RATE)
            products = _product({name: w[drawn] for name, w in weights.items()}).cpu()
            yield from _rows_at(problem, step, errors[drawn], products, cell, with_eigenvalues)
    for (i, rate), (j, (target, start, seed)) in product(enumerate(rates), enumerate(problem.labels)):
        place = {"rate": rate, "target": target, "start": start, "seed": seed}
        yield Row("final", {**cell, **place, "error": errors[i, j].item(), "learned_at": learned[i, j].item()})


def _rows_at(
    problem: _Problem, step: int, errors: Tensor, products: Tensor, cell: Mapping[str, Any], with_eigenvalues: bool
) -> Iterator[Row]:
    """The way of each start to -I: errors over seeds, and the eigenvalues of the first seed's product."""
    seeds = len(problem.seeds)
    for i, (target, start, _) in enumerate(problem.labels[::seeds]):
        if target != "minus_identity":
            continue
        place = {**cell, "start": start, "step": step}
        own, first = errors[i * seeds : (i + 1) * seeds], products[i * seeds]
        spread = {"median": own.median().item(), "lowest": own.min().item(), "highest": own.max().item()}
        yield Row("curves", {**place, **spread})
        if with_eigenvalues and first.isfinite().all():
            for value in sorted(torch.linalg.eigvals(first).tolist(), key=lambda v: (v.real, v.imag)):
                yield Row("eigenvalues", {**place, "real": value.real, "imaginary": value.imag})
