"""Analyses of the paper that are no grid of trainings, by name: one small file each.

To add one, add a file here with a function registered in `STUDIES`. It gets the setting, its keyword-only parameters are
its options, and it gives the cells to compute. What the rows show is drawn and judged in ``idinit.report.studies``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import torch

from ..registry import Registry


class Row(NamedTuple):
    """One row of one of a study's tables.

    Attributes:
        table: Name of the table.
        values: Column -> value. No number that is not finite is told from another: they are all missing values.
    """

    table: str
    values: Mapping[str, str | int | float | bool]


@dataclass(frozen=True)
class Setting:
    """Where a study is computed.

    Attributes:
        data: Root of the data sets.
        device: Device of the networks.
    """

    data: Path
    device: torch.device


@dataclass(frozen=True)
class Cell:
    """A part of a study that is computed at one go; an interrupted study goes on with its first missing cell.

    Attributes:
        name: What it is, unique in its study.
        measure: Computes its rows, from nothing but the setting and the options.
    """

    name: str
    measure: Callable[[], Iterable[Row]]


STUDIES: Registry[Callable[..., Iterable[Cell]]] = Registry("study")

for _module in ("branch", "convergence", "dead", "depth", "isometry", "rank"):
    import_module(f".{_module}", __name__)
