"""Tables as plain text, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def text_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Aligns the columns with spaces, under a line of dashes; nothing is wrapped or cut.

    Args:
        columns: The headings.
        rows: The cells of each row, as many as there are headings.
    """
    cells = [list(columns), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells)


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]], left: int | None = None) -> str:
    """Writes a table in GitHub's Markdown; a bar in a cell is escaped, and a line break becomes a space.

    Args:
        columns: The headings.
        rows: The cells of each row, as many as there are headings.
        left: The number of columns that are flush left, the others being flush right; None for all.
    """
    rule = ["---" if left is None or index < left else "---:" for index in range(len(columns))]
    head, *body = ([cell.replace("|", r"\|").replace("\n", " ") for cell in row] for row in (columns, *rows))
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *body))


def html_table(columns: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> str:
    """Writes an HTML ``<table>``; all text is escaped."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
