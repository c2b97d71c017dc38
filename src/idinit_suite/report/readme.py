"""Tables of results inside a hand-written page: made again from the archives, so that no number in it is typed."""

from __future__ import annotations

import re
from pathlib import Path

from idinit.errors import UsageError

from ..archive.edges import with_legend
from ..archive.runs import load
from ..archive.variants import list_variants, scales
from ..atomic import write_atomically
from .recipes import RESULTS
from .table import markdown_table
from .tables import results_table, search_tables

_BLOCK = re.compile(r"(<!-- results: (?P<name>[\w.-]+) -->\n)(?P<body>.*?)(<!-- end of results -->)", re.DOTALL)


def with_results(text: str, results: Path) -> str:
    """A page with each block of results filled in anew.

    Args:
        text: Markdown with blocks that begin with ``<!-- results: EXPERIMENT -->`` and end with ``<!-- end of results -->``.
        results: The folder of all archives.

    Returns:
        The page with the table of each experiment at its largest scale, and the scale above it.

    Raises:
        UsageError: If a block names an experiment without results.
    """

    def fill(block: re.Match[str]) -> str:
        name = block["name"]
        archive = load(results / name)
        if archive.runs.empty:
            raise UsageError(f"the page shows results of '{name}', of which there are none: run `make {name}` first")
        scale = scales(archive)[0]
        rows = list_variants(archive, scale)
        table = markdown_table(results_table(RESULTS, rows, bool(search_tables(archive, scale, rows))))
        table = with_legend(table, (variant.edge for variant in rows), "\n\n")
        return f"{block[1]}\n{scale}\n\n{table}\n\n{block[4]}"

    return _BLOCK.sub(fill, text)


def update_readme(page: Path, results: Path) -> None:
    """Fills in the blocks of results of a file; see `with_results`."""
    old = page.read_text(encoding="utf-8")
    new = with_results(old, results)
    if new != old:
        write_atomically(page, new.encode())
