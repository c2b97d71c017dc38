"""Pieces of the page in HTML: tables that the page can sort, lists, controls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from ...archive.variants import Arm
from ..columns import columns


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        html: What it shows.
        key: What it is sorted by, where that is a number: NaN comes last in either direction.
        style: Its class, if any.
    """

    html: str
    key: float | None = None
    style: str = ""


def table(head: Sequence[str], rows: Sequence[tuple[str, Sequence[Cell]]], style: str = "sortable", caption: str = "") -> str:
    """A table that scrolls by itself where it is too wide.

    Args:
        head: The headers, as text.
        rows: For each row the attributes of its element and its cells; the first cell is the row's header.
        style: Classes of the table.
        caption: What the table shows, for those who cannot see it.
    """
    numeric = [any(row[column].key is not None for _, row in rows) for column in range(len(head))]
    top = "".join(
        f'<th scope="col"{_class("number" if number else "")}>{escape(text)}</th>'
        for text, number in zip(head, numeric, strict=True)
    )
    body = "\n".join(f"<tr{attributes}>{''.join(map(_cell, row))}</tr>" for attributes, row in rows)
    label = f' role="region" tabindex="0" aria-label="{escape(caption)}"' if caption else ""
    inside = f"<thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody>"
    return f'<div class="scroll"{label}><table class="{style}">{inside}</table></div>'


def arms_table(arms: Sequence[Arm], tuned: bool) -> str:
    """The main table of a scale in all recipes; the page hides those that are not asked for."""
    shown = columns(arms, tuned)
    rows = [
        (
            f' data-own="{_yes(arm.primary)}" data-shared="{_yes(arm.shared)}"',
            [Cell(escape(column.text(arm)), column.key(arm) if column.key else None) for column in shown],
        )
        for arm in arms
    ]
    head = [column.header.replace("\n", " ") for column in shown]
    return table(head, rows, "sortable arms", "Results by initializer")


def arm_boxes(arms: Sequence[Arm]) -> str:
    """A checkbox an arm, all checked."""
    return "".join(
        f'<label data-own="{_yes(arm.primary)}" data-shared="{_yes(arm.shared)}">'
        f'<input type="checkbox" value="{escape(arm.label)}" checked>{escape(arm.label)}</label>'
        for arm in arms
    )


def markdown_table(text: str, caption: str) -> str:
    """A table in the project's Markdown as HTML; its numbers sort as numbers."""
    lines = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines()]
    head, rows = lines[0], lines[2:]
    return table(
        head,
        [("", [Cell(_bold(cell), _leading(cell) if column else None) for column, cell in enumerate(row)]) for row in rows],
        caption=caption,
    )


def listed(items: Sequence[str], kind: str = "ul") -> str:
    """A list of plain texts."""
    return f"<{kind}>{''.join(f'<li>{escape(item)}</li>' for item in items)}</{kind}>" if items else ""


def select(name: str, label: str, options: Sequence[tuple[str, str]]) -> str:
    """A labelled choice."""
    inside = "".join(f'<option value="{escape(value)}">{escape(text)}</option>' for value, text in options)
    return f'<label>{escape(label)} <select name="{name}">{inside}</select></label>'


def _cell(cell: Cell) -> str:
    if cell.key is None:
        return f"<td{_class(cell.style)}>{cell.html}</td>"
    return f'<td class="number" data-sort="{"" if math.isnan(cell.key) else f"{cell.key:.6g}"}">{cell.html}</td>'


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _bold(text: str) -> str:
    shown = escape(text)
    return f"<strong>{shown[2:-2]}</strong>" if shown.startswith("**") and shown.endswith("**") else shown


def _leading(text: str) -> float:
    """The number that a cell begins with; NaN where there is none."""
    try:
        return float(text.strip("*").split(" ")[0].rstrip("%").replace("–", "nan"))
    except ValueError:
        return math.nan
