"""A page as a sequence of blocks, and its renderer for Markdown; a block that is a plain string is a paragraph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from matplotlib.figure import Figure

from ..atomic import write_atomically
from .table import Table, markdown_table


@dataclass(frozen=True)
class Heading:
    """A heading of a level from 1, the page's title, downwards."""

    level: int
    text: str


@dataclass(frozen=True)
class Code:
    """Lines to type."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list, numbered or not, of lines that may hold inline Markdown."""

    lines: Sequence[str]
    numbered: bool = False


@dataclass(frozen=True)
class Picture:
    """A figure.

    Attributes:
        name: Of its files, without ending.
        caption: What it shows and how to read it, in a sentence or two.
        draw: Makes it.
        alt: What it shows, for those who cannot see it; the caption where it is empty.
        charted: Whether the report draws the same from the runs themselves.
    """

    name: str
    caption: str
    draw: Callable[[], Figure]
    alt: str = ""
    charted: bool = False


@dataclass(frozen=True)
class Folded:
    """Blocks that a summary stands for until it is opened."""

    summary: str
    blocks: Sequence[Block]


Block: TypeAlias = "str | Heading | Code | Items | Picture | Table | Folded"


def markdown(blocks: Sequence[Block]) -> str:
    """Blocks as Markdown, with an empty line between them."""
    return "\n\n".join(map(_markdown, blocks))


def _markdown(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"{'#' * level} {text}"
        case Code(text):
            return f"```\n{text}\n```"
        case Items(lines, numbered):
            return "\n".join(f"{f'{number}.' if numbered else '-'} {line}" for number, line in enumerate(lines, start=1))
        case Picture(name, caption, alt=alt):
            return f"![{alt or caption}]({name}.png)\n\n{caption} [As SVG]({name}.svg)"
        case Table():
            return markdown_table(block)
        case Folded(summary, folded):
            return f"<details><summary>{summary}</summary>\n\n{markdown(folded)}\n\n</details>"
    return block


def write_markdown(path: Path, blocks: Sequence[Block]) -> None:
    """Writes blocks as a file of Markdown, whose folder is made if missing.

    Raises:
        OSError: If it cannot be written; it is then as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (markdown(blocks) + "\n").encode())


def pictures(blocks: Sequence[Block]) -> list[Picture]:
    """All figures among some blocks, folded ones included."""
    found: list[Picture] = []
    for block in blocks:
        if isinstance(block, Picture):
            found.append(block)
        elif isinstance(block, Folded):
            found += pictures(block.blocks)
    return found
