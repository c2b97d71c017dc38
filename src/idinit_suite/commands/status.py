"""Shows how many runs of each experiment are done, and how far the others are.

python -m idinit_suite status
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..report.terminal import overview
from ..training.progress import console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("--in", type=Path, default=Path("runs"), dest="folder", metavar="FOLDER", help="folder of all runs")


def run(arguments: argparse.Namespace) -> None:
    """Runs the subcommand."""
    console.print(overview(arguments.folder))
