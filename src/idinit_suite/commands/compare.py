"""Compares runs: the settings in which they differ, their accuracies, and a plot.

python -m idinit_suite compare runs/demo/idinit-s0-1a2b3c4d runs/demo/fixup-s0-5e6f7a8b
python -m idinit_suite compare 1a2b3c4d 5e6f
"""

from __future__ import annotations

import argparse

from ..report.terminal import comparison, find_run
from ..training.progress import console
from . import add_folders


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run folder, or how the name or the hash of a run begins")
    add_folders(parser)


def run(arguments: argparse.Namespace) -> None:
    """Runs the subcommand.

    Raises:
        UsageError: If a run is not there.
    """
    found = [find_run(name, arguments.folder, arguments.results) for name in arguments.runs]
    console.print(comparison(found, console.width))
