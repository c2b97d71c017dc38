"""Subcommands of ``python -m idinit_suite``, a module each.

A module is a subcommand of its name. Its docstring is what ``--help`` says; ``add_arguments(parser)`` declares its
arguments, and ``run(arguments)`` does the work.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from idinit.cli import Command, run_subcommand


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the subcommand that the command line names.

    Args:
        arguments: The command line without the program; ``sys.argv[1:]`` if None.

    Raises:
        UsageError: If the command line makes no sense.
    """
    commands = {name: partial(_command, name) for name in sorted(module.name for module in iter_modules(__path__))}
    run_subcommand("python -m idinit_suite", "Runs, finished and under way.", commands, arguments)


def add_folders(parser: argparse.ArgumentParser) -> None:
    """Declares where runs are looked for."""
    parser.add_argument("--in", type=Path, default=Path("runs"), dest="folder", metavar="FOLDER", help="folder of all runs")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="FOLDER", help="folder of all archives")


def _command(name: str) -> Command:
    module = import_module(f".{name}", __name__)
    return Command(module.__doc__ or "", module.add_arguments, module.run)
