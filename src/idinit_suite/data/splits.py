"""Validation splits: drawn by a seed of their own, so that every run of an experiment holds out the same examples."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from idinit.errors import UsageError

from ..seeds import generator


def stratified_order(labels: Tensor, seed: int) -> Tensor:
    """A random order, stratified throughout: any stretch of it holds each class in its share, give or take two.

    Args:
        labels: int64 [N].
        seed: Seed of the order.

    Returns:
        A permutation, int64 [N].
    """
    shuffled = torch.randperm(len(labels), generator=generator(seed, "split"))
    classes = labels[shuffled]
    # The i-th of the n examples of a class goes to the (i - 1/2)/n quantile of the order.
    rank = one_hot(classes).cumsum(0).gather(1, classes[:, None])[:, 0]
    quantile = (rank - 0.5) / torch.bincount(classes)[classes]
    return shuffled[torch.argsort(quantile, stable=True)]


def split(labels: Tensor, validation: int, seed: int) -> tuple[Tensor, Tensor]:
    """Splits a training set, stratified by class.

    Args:
        labels: int64 [N].
        validation: Number of examples to hold out.
        seed: Seed of the split, not of the run: runs with other seeds or initializers hold out the same examples.

    Returns:
        Indices to train on, int64 [N - validation], in an order whose beginnings are stratified too, and indices held
        out, int64 [validation].

    Raises:
        UsageError: If nothing would be left to train on.
    """
    if validation >= len(labels):
        raise UsageError(f"data.validation={validation} leaves nothing of the {len(labels)} training examples: ask for fewer")
    order = stratified_order(labels, seed)
    return order[validation:], order[:validation]
