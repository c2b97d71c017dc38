"""Shows what happened in each layer of a run that was trained with diagnostics.every=STEPS: a table, and a figure.

python -m idinit_suite layers runs/demo/kaiming-s0-1a2b3c4d
"""

from __future__ import annotations

import argparse
from functools import partial

from idinit.errors import UsageError
from idinit.tables import text_table

from ..archive.layers import measurements
from ..report.figures import save_figure
from ..report.layers import TITLES, draw_layers, layer_table
from ..report.terminal import find_run
from ..training.progress import console
from . import add_folders


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("name", metavar="RUN", help="a run folder, or how the name or the hash of a run begins")
    add_folders(parser)


def run(arguments: argparse.Namespace) -> None:
    """Runs the subcommand.

    Raises:
        UsageError: If the run is not there, or its layers were not measured.
    """
    found = find_run(arguments.name, arguments.folder, arguments.results)
    rows = measurements(found.rows)
    if not rows:
        raise UsageError(
            f"the layers of run '{found.name}' were not measured: train it with diagnostics.every=STEPS, "
            "in a new folder (paths.runs=) if it is finished"
        )
    columns = ["weight", *(f"{title}, step {rows[0]['step']} → {rows[-1]['step']}" for title in TITLES.values())]
    console.print(text_table(columns, layer_table(rows)), markup=False, soft_wrap=True)
    if found.folder is not None:  # what only the archive has is drawn on its page
        save_figure(partial(draw_layers, f"{found.name}, {found.status['state']}", rows), found.folder / "layers")
        console.print(f"\nover all steps: {found.folder / 'layers.png'}", markup=False, soft_wrap=True)
