"""Labels, numbers or words, -> classes from 0."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from idinit.errors import UsageError, did_you_mean

from .rows import Rows

Label = int | float | str


def number_labels(
    splits: Mapping[str, Rows], column: str, names: Sequence[str] = ()
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Numbers the labels of a column in their order: numbers by value, words by the alphabet.

    Args:
        splits: The rows of ``train`` and other splits.
        column: The column of labels.
        names: Names of the classes, where the labels number them from 0 already.

    Returns:
        Split -> classes, int64 [N], and the names of the classes in the order of their numbers.

    Raises:
        UsageError: Naming the row, if a label is missing or not of the training split; or if there are fewer than two classes.
    """
    labels = {
        split: [_label(value, rows.where(i)) for i, value in enumerate(rows.columns[column])] for split, rows in splits.items()
    }
    if all(_number(label) is not None for values in labels.values() for label in values):
        labels = {split: [_number(label) for label in values] for split, values in labels.items()}  # type: ignore[misc]
    else:
        labels = {split: [str(label) for label in values] for split, values in labels.items()}
    classes: list[Any] = list(range(len(names))) or sorted(set(labels["train"]))
    if not names:
        _require_classes(classes, len(labels["train"]), column, splits["train"].source)
    numbers = {label: number for number, label in enumerate(classes)}
    for split, values in labels.items():
        for index, label in enumerate(values):
            if label not in numbers:
                raise UsageError(
                    f"{splits[split].where(index)}: the label '{label}' does not occur in the training split: "
                    f"{did_you_mean(label, map(str, classes[:20]))}"
                )
    return (
        {split: torch.tensor([numbers[label] for label in values]) for split, values in labels.items()},
        tuple(names) or tuple(map(str, classes)),
    )


def _require_classes(classes: Sequence[Any], count: int, column: str, source: str) -> None:
    if len(classes) < 2:
        raise UsageError(f"{source}: every label ('{column}') is '{classes[0]}', and a classifier needs two classes")
    if len(classes) == count > 2:
        raise UsageError(
            f"{source}: each of the {count} rows has a label of its own ('{column}'), and these are no classes: "
            "give labels that several rows have in common"
        )


def is_missing(value: Any) -> bool:
    """Whether a cell is empty."""
    return value is None or (isinstance(value, float) and math.isnan(value)) or (isinstance(value, str) and not value.strip())


def _label(value: Any, where: str) -> Label:
    if is_missing(value):
        raise UsageError(f"{where}: the label is missing: fill it or delete the row")
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, (int, float)):
        return value
    raise UsageError(f"{where}: the label has type {type(value).__name__}, and it must be a number or a word")


def _number(label: Label) -> int | float | None:
    if isinstance(label, str) and "_" in label:  # Python reads 1_1 as 11
        return None
    try:
        number = float(label)
    except ValueError:
        return None
    return int(number) if number.is_integer() else number if math.isfinite(number) else None
