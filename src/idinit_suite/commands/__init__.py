"""Subcommands of ``python -m idinit_suite``, a module each.

A module is a subcommand of its name. Its docstring is what ``--help`` says; ``add_arguments(parser)`` declares its
arguments, and ``run(arguments)`` does the work.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules

from idinit.cli import Parser
from idinit.errors import UsageError, did_you_mean

_PROGRAM = "python -m idinit_suite"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the subcommand that the command line names.

    Args:
        arguments: The command line without the program; ``sys.argv[1:]`` if None.

    Raises:
        UsageError: If the command line makes no sense.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    names = sorted(module.name for module in iter_modules(__path__))
    parser = Parser(prog=_PROGRAM, description="Runs, finished and under way.")
    parser.add_argument("command", metavar="COMMAND", help=", ".join(names))
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="...", help="its arguments; COMMAND --help explains them")
    given = parser.parse_args(arguments)
    if given.command not in names:
        raise UsageError(f"unknown command '{given.command}': {did_you_mean(given.command, names)}")
    module = import_module(f".{given.command}", __name__)
    command = Parser(
        prog=f"{_PROGRAM} {given.command}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(command)
    module.run(command.parse_args(given.rest))
