"""Studies: functions registered in `STUDIES` that return the cells to compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from idinit.registry import Registry


class Row(NamedTuple):
    """One row of one of a study's tables.

    Attributes:
        table: Name of the table.
        values: Column -> value. Numbers that are not finite are all missing values.
    """

    table: str
    values: Mapping[str, str | int | float | bool]


@dataclass(frozen=True)
class Setting:
    """The data and the device of a study.

    Attributes:
        data: Root of the data sets.
        device: Device of the networks.
    """

    data: Path
    device: torch.device


@dataclass(frozen=True)
class Cell:
    """A part of a study that is computed as a whole; an interrupted study resumes with its first missing cell.

    Attributes:
        name: What it is, unique in its study.
        measure: Computes its rows, from nothing but the setting and the options.
    """

    name: str
    measure: Callable[[], Iterable[Row]]


STUDIES: Registry[Callable[..., Iterable[Cell]], None] = Registry("study")
