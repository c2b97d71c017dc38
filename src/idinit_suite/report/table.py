"""Tables as typed cells, and their renderers for Markdown and a terminal; that for HTML is a template of the report."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import rich.table
from rich import box
from rich.text import Text

from idinit import tables

_COUNT = re.compile(r" \(n = \d+\)$")
_RANGE = re.compile(r"(?<=\d) to (?=\d)")


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: What it shows.
        key: What it is sorted by, where that is a number; NaN comes last.
        strong: Whether it stands out.
        link: Address that it leads to, relative to ``results/``; empty for none.
    """

    text: str
    key: float | None = None
    strong: bool = False
    link: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        caption: What it shows, for those who cannot see it.
        head: The headers; a line break is where one may be broken.
        rows: The cells of each row.
        left: The number of columns that are flush left; the others are flush right.
        short: Shorter headers for a terminal, where there are any.
        groups: A heading for the rows of each group in a terminal; its name is cut off the rows' first cells.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    left: int = 1
    short: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[Cell | str]], left: int = 1) -> Table:
    """Makes a table of cells, or of the texts of cells; see `Table`."""
    cells = tuple(tuple(Cell(cell) if isinstance(cell, str) else cell for cell in row) for row in rows)
    return Table(caption, tuple(head), cells, left)


def markdown_table(table: Table) -> str:
    """The table in GitHub's Markdown."""
    return tables.markdown_table(table.head, [[_markdown(cell) for cell in row] for row in table.rows], table.left)


def _markdown(cell: Cell) -> str:
    text = f"[{cell.text}]({cell.link})" if cell.link else cell.text
    return f"**{text}**" if cell.strong else text


def terminal_table(table: Table) -> rich.table.Table:
    """The table for a terminal of 80 columns: short headers, and no number of runs beside a mean: it has its own column."""
    shown = rich.table.Table(
        title=table.caption, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=0, pad_edge=False
    )
    for index, text in enumerate(table.short or table.head):
        shown.add_column(text, justify="left" if index < table.left else "right")
    group = ""
    grouped = zip(table.rows, table.groups or ("",) * len(table.rows), strict=True)
    for row, own in sorted(grouped, key=lambda one: one[1]):
        if own and own != group:
            shown.add_row(Text(own, style="bold"))
        group = own
        texts = [_RANGE.sub("–", _COUNT.sub("", cell.text)).replace(" ± ", "±") for cell in row]
        texts[0] = texts[0].removeprefix(f"{own}-")
        shown.add_row(*(Text(text, style="bold" if cell.strong else "") for text, cell in zip(texts, row, strict=True)))
    return shown
