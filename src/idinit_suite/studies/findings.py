"""Findings of studies: from the archived rows of a study to its figures, tables and verdicts.

One file a study, beside its ``measure.py``: a function of the study's tables, registered in `FINDINGS` under the
study's name. Nothing is computed here that training would change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from idinit.registry import Registry

from ..report.blocks import Block, Picture
from ..report.outcomes import Finding, Outcome
from .base import STUDIES


@dataclass(frozen=True)
class Findings:
    """Verdicts, text and figures from the rows of one run of a study.

    Attributes:
        claims: Id -> the finding, for each claim that the study tests.
        text: The results in words and tables.
        pictures: Its figures.
    """

    claims: Mapping[str, Finding]
    text: Sequence[Block]
    pictures: Sequence[Picture]


FINDINGS: Registry[Callable[[Mapping[str, pd.DataFrame]], Findings], None] = Registry("study")


def select(table: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """The rows of a table that have the given values, by column."""
    for column, value in values.items():
        table = table[table[column] == value]
    return table


def present(names: Iterable[str], column: Iterable[str]) -> list[str]:
    """Those of some names that occur in a column, in the order of the names."""
    found = set(column)
    return [name for name in names if name in found]


def all_or_some(found: Iterable[bool]) -> Outcome:
    """Reproduced if all that a claim names was found, partly if some of it was."""
    each = list(found)
    return "reproduced" if all(each) else "partly" if any(each) else "not reproduced"


def draw_shares(ax: Axes, shares: pd.DataFrame, texts: pd.DataFrame, fontsize: float) -> None:
    """Draws a table of shares as a map, with a text in each cell."""
    ax.grid(False)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1.25, aspect="auto")
    for (y, x), share in np.ndenumerate(shares.to_numpy()):
        colour = "white" if share > 0.7 else "black"
        ax.text(x, y, texts.iloc[y, x], ha="center", va="center", color=colour, fontsize=fontsize)


def draw_legend(figure: Figure, order: Iterable[str], **options: Any) -> None:
    """Draws one legend for all panels of a figure, its labels in a given order."""
    found = {label: handle for ax in figure.axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    labels = present(order, found)
    figure.legend([found[label] for label in labels], labels, frameon=False, **options)


for _study in STUDIES:
    import_module(f".{_study}.findings", __package__)
