"""A page as a sequence of blocks, and its renderer for Markdown; a block that is a plain string is a paragraph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import TypeAlias

from matplotlib.figure import Figure

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


@singledispatch
def _markdown(block: Block) -> str:
    return str(block)


@_markdown.register
def _(block: Heading) -> str:
    return f"{'#' * block.level} {block.text}"


@_markdown.register
def _(block: Code) -> str:
    return f"```\n{block.text}\n```"


@_markdown.register
def _(block: Items) -> str:
    return "\n".join(f"{f'{number}.' if block.numbered else '-'} {line}" for number, line in enumerate(block.lines, start=1))


@_markdown.register
def _(block: Picture) -> str:
    return f"![{block.alt or block.caption}]({block.name}.png)\n\n{block.caption} [As SVG]({block.name}.svg)"


@_markdown.register
def _(block: Table) -> str:
    return markdown_table(block)


@_markdown.register
def _(block: Folded) -> str:
    return f"<details><summary>{block.summary}</summary>\n\n{markdown(block.blocks)}\n\n</details>"


def pictures(blocks: Sequence[Block]) -> list[Picture]:
    """All figures among some blocks, folded ones included."""
    found: list[Picture] = []
    for block in blocks:
        if isinstance(block, Picture):
            found.append(block)
        elif isinstance(block, Folded):
            found += pictures(block.blocks)
    return found
