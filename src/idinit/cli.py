"""The command line: ``python -m idinit inspect``."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml
from matplotlib.backend_bases import FigureCanvasBase
from torch.utils._pytree import tree_leaves

from .diagnostics.plot import draw_signals
from .diagnostics.signal import measure_signal
from .errors import UsageError, did_you_mean
from .initialize import initialize_
from .initializers import INITIALIZERS
from .terminal import prepare_output
from .zoo import load

_PROGRAM = "python -m idinit"
_INSPECT = """Initializes a network and shows what was done: a table of its parameters, and a picture of its signals.

python -m idinit inspect timm:resnet50 --init idinit --options tau=0.5
python -m idinit inspect hf:bert --save bert.svg
python -m idinit inspect nets.py:make_net --input 3x32x32
"""


class Parser(argparse.ArgumentParser):
    """Complains in one line, like the rest of the project."""

    def error(self, message: str) -> NoReturn:
        """Raises the complaint as a `UsageError`."""
        raise UsageError(f"{message}; see {self.prog} --help")


def run() -> None:
    """Runs what the command line says; a mistake in it is one line and exit code 2, a file that cannot be written 1."""
    prepare_output()
    try:
        main()
    except UsageError as error:
        _end(str(error), 2)
    except BrokenPipeError:  # who reads what is printed has seen enough, as head and pagers do
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it ends
        sys.exit(1)
    except OSError as error:
        if error.filename is None:
            raise
        _end(f"cannot read or write '{error.filename}': {error.strerror}", 1)


def _end(line: str, code: int) -> NoReturn:
    print(f"idinit: {line}", file=sys.stderr)
    sys.exit(code)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the subcommand that the command line names.

    Args:
        arguments: The command line without the program; ``sys.argv[1:]`` if None.

    Raises:
        UsageError: If the command line makes no sense.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    parser = Parser(prog=_PROGRAM, description="Initialize any PyTorch network, and see what was done.")
    parser.add_argument("command", metavar="COMMAND", help="inspect")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="...", help="its arguments; COMMAND --help explains them")
    given = parser.parse_args(arguments)
    if given.command != "inspect":
        raise UsageError(f"unknown command '{given.command}': {did_you_mean(given.command, ['inspect'])}")
    command = Parser(prog=f"{_PROGRAM} inspect", description=_INSPECT, formatter_class=argparse.RawDescriptionHelpFormatter)
    _add_arguments(command)
    _inspect(command.parse_args(given.rest))


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "network",
        help="timm:NAME, torchvision:NAME, hf:MODEL_TYPE (a small configuration of it), or FILE.py:FACTORY (a function that "
        "returns a network, or a network and its example inputs)",
    )
    parser.add_argument("--init", default="idinit", metavar="NAME", help=f"initializer: {', '.join(INITIALIZERS)}")
    parser.add_argument("--options", nargs="+", default=[], metavar="KEY=VALUE", help="options of the initializer")
    parser.add_argument(
        "--input", type=_shape, metavar="3x224x224", help="shape of one input; the network's usual one if not given"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the initializer; 0 if not given")
    parser.add_argument("--save", type=Path, metavar="FILE", help="where the picture goes; NETWORK-INIT.png if not given")


def _inspect(arguments: argparse.Namespace) -> None:
    options = INITIALIZERS.check(arguments.init, dict(map(_option, arguments.options)))
    picture = arguments.save or Path(f"{re.sub(r'[^A-Za-z0-9_.]+', '-', arguments.network)}-{arguments.init}.png")
    _check_picture(picture)
    model, inputs = load(arguments.network, arguments.input)
    report = initialize_(model, arguments.init, inputs, seed=arguments.seed, **options)
    weights = sum(parameter.numel() for parameter in model.parameters())
    shapes = ", ".join("x".join(map(str, leaf.shape)) for leaf in tree_leaves(inputs) if hasattr(leaf, "shape"))
    draw_signals(measure_signal(model, inputs), f"{arguments.network}, {arguments.init}").savefig(picture, dpi=160)
    print(f"{arguments.network}: {type(model).__name__}, {weights:,} weights, inputs {shapes}\n")
    print(report)
    print(f"\nPicture: {picture}")


def _check_picture(path: Path) -> None:
    endings = sorted(FigureCanvasBase.get_supported_filetypes())
    if path.suffix[1:].lower() not in endings:
        raise UsageError(f"a picture cannot be written to '{path}': its ending must be one of {', '.join(endings)}")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder '{path.parent}' for the picture")


def _option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--options {text}: give KEY=VALUE")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError:
        return key, value


def _shape(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", text):
        raise argparse.ArgumentTypeError(f"'{text}' is no shape: give sizes with x between, e.g. 3x224x224, or 16 for tokens")
    return tuple(map(int, text.split("x")))
