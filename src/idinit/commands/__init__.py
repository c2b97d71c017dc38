"""Subcommands of ``python -m idinit``, a module each.

A module is a subcommand of its name. Its docstring is what ``--help`` says; ``add_arguments(parser)`` declares its
arguments, and ``run(arguments)`` does the work.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import NoReturn

from ..errors import UsageError, did_you_mean

_PROGRAM = "python -m idinit"


class _Parser(argparse.ArgumentParser):
    """Complains in one line, like the rest of the project."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the subcommand that the command line names.

    Args:
        arguments: The command line without the program; ``sys.argv[1:]`` if None.

    Raises:
        UsageError: If the command line makes no sense.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    names = sorted(module.name for module in iter_modules(__path__))
    parser = _Parser(prog=_PROGRAM, description="Initialize any PyTorch network, and see what was done.")
    parser.add_argument("command", metavar="COMMAND", help=", ".join(names))
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="...", help="its arguments; COMMAND --help explains them")
    given = parser.parse_args(arguments)
    if given.command not in names:
        raise UsageError(f"unknown command '{given.command}': {did_you_mean(given.command, names)}")
    module = import_module(f".{given.command}", __name__)
    command = _Parser(
        prog=f"{_PROGRAM} {given.command}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(command)
    module.run(command.parse_args(given.rest))
