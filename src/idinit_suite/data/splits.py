"""Validation splits: drawn by a seed of their own, so that every run of an experiment holds out the same examples."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, TypeVar

import torch
from pydantic import Field, NonNegativeInt
from torch import Tensor

from idinit.errors import UsageError

from ..seeds import generator

T = TypeVar("T")


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
    counts = torch.bincount(classes)
    by_class = torch.argsort(classes, stable=True)
    rank = torch.empty_like(classes)  # 1 to n within its class
    rank[by_class] = torch.arange(1, len(classes) + 1) - (counts.cumsum(0) - counts)[classes[by_class]]
    quantile = (rank - 0.5) / counts[classes]
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


#: Examples to hold out of the training split: a number, or a share of it; 0 for none; None for a tenth, or for none where the
#: data bring the split.
HeldOut = NonNegativeInt | Annotated[float, Field(gt=0, lt=1)] | None


def hold_out(labels: Tensor, brought: Collection[str], validation: HeldOut, test: HeldOut, seed: int) -> dict[str, Tensor]:
    """Splits data of which not all splits are there, stratified by class.

    Args:
        labels: Of the training split, int64 [N].
        brought: Names of the splits that the data bring.
        validation: What to hold out for validation.
        test: What to hold out for the test.
        seed: Seed of the split, not of the run.

    Returns:
        Split -> indices into the training split, int64: ``train`` and what is held out of it.

    Raises:
        UsageError: If nothing would be left to train on.
    """
    order = stratified_order(labels, seed)
    counts, held = {}, {}
    for name, asked in (("test", test), ("validation", validation)):
        if asked is None:
            asked = 0 if name in brought else 0.1
        counts[name] = asked if isinstance(asked, int) else max(1, round(asked * len(labels)))
        if counts[name]:
            held[name], order = order[: counts[name]], order[counts[name] :]
    if not len(order):
        asked_for = ", ".join(f"data.{name}={count}" for name, count in counts.items() if count)
        raise UsageError(f"{asked_for} leave nothing of the {len(labels)} training examples: ask for fewer")
    return {"train": order, **held}


@dataclass(frozen=True)
class SplitOptions:
    """How splits that data lack are held out of their training split, under the names of the configuration.

    Attributes:
        validation: What to hold out for validation.
        test: What to hold out for the test.
        split_seed: Seed of the split, not of the run.
        train_limit: Examples to train on at most; None for all that are left.
    """

    validation: HeldOut
    test: HeldOut
    split_seed: int
    train_limit: int | None

    def whole(self, found: Mapping[str, T], labels: Tensor, pick: Callable[[T, Tensor], T]) -> dict[str, T]:
        """All splits of data that may lack some: those are held out of the training split; see `hold_out`.

        Args:
            found: The splits that the data bring.
            labels: Of the training split, int64 [N].
            pick: From a split and indices into it to these examples.
        """
        rows = hold_out(labels, found, self.validation, self.test, self.split_seed)
        rows["train"] = rows["train"][: self.train_limit]
        asked = {"validation": self.validation, "test": self.test}
        brought = {split: found[split] for split, held in asked.items() if held is None and split in found}
        return {split: pick(found["train"], chosen) for split, chosen in rows.items()} | brought
