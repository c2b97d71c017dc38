"""The command line: ``idinit inspect`` and ``idinit list``, also as ``python -m idinit``."""

from __future__ import annotations

import argparse
import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from torch.utils._pytree import tree_leaves

from . import __version__
from .diagnostics.examine import examine
from .diagnostics.signal_profile import signal_profile
from .errors import UsageError, did_you_mean, needs_extra
from .graph.probe import Inputs
from .initialize import initialize_, list_initializers
from .initializers import INITIALIZERS
from .tables import text_table
from .terminal import end, end_unread, prepare_output
from .zoo import load

_INSPECT = """Shows how a network is initialized, and what is wrong with that; or initializes it first and shows what was done.

idinit inspect timm:resnet50
idinit inspect timm:resnet50 --init idinit --options tau=0.5
idinit inspect hf:bert --save bert.svg
idinit inspect nets.py:make_net --input 3x32x32
"""
_LIST = """Lists the initializers, what a network needs for them, and where they are from; of one, its options as well.

idinit list
idinit list "*fixup*"
"""


class Parser(argparse.ArgumentParser):
    """Complains in one line, like the rest of the project."""

    def error(self, message: str) -> NoReturn:
        """Raises the complaint as a `UsageError`."""
        raise UsageError(f"{message}; see {self.prog} --help")


class Command(NamedTuple):
    """A subcommand: what ``--help`` says, a function that declares its arguments, and one that runs it."""

    description: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]


def run() -> None:
    """Runs what the command line says; a mistake in it is one line and exit code 2, a file that cannot be written 1."""
    prepare_output()
    try:
        main()
    except UsageError as error:
        end(str(error), 2)
    except BrokenPipeError:
        end_unread()
    except OSError as error:
        if error.filename is None:
            raise
        end(f"cannot read or write '{error.filename}': {error.strerror}", 1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the subcommand that the command line names.

    Args:
        arguments: The command line without the program; ``sys.argv[1:]`` if None.

    Raises:
        UsageError: If the command line makes no sense.
    """
    run_subcommand("idinit", "Initialize any PyTorch network, and see what was done.", _COMMANDS, arguments)


def run_subcommand(
    program: str, description: str, commands: Mapping[str, Callable[[], Command]], arguments: Sequence[str] | None = None
) -> None:
    """Runs one of a program's subcommands, each with a parser of its own.

    Args:
        program: The program, as help and errors call it.
        description: What it does.
        commands: Its subcommands by name; only the one that is asked for is made.
        arguments: The command line without the program; ``sys.argv[1:]`` if None.

    Raises:
        UsageError: If the command line makes no sense.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    parser = Parser(prog=program, description=description)
    parser.add_argument("command", metavar="COMMAND", help=", ".join(commands))
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="...", help="its arguments; COMMAND --help explains them")
    given = parser.parse_args(arguments)
    if given.command not in commands:
        raise UsageError(f"unknown command '{given.command}': {did_you_mean(given.command, commands)}")
    command, name = commands[given.command](), f"{program} {given.command}"
    own = Parser(prog=name, description=command.description, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_arguments(own)
    command.run(own.parse_args(given.rest))


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "network",
        help="timm:NAME, torchvision:NAME, hf:MODEL_TYPE (a small configuration of it), or FILE.py:FACTORY (a function that "
        "returns a network, or a network and its example inputs)",
    )
    parser.add_argument(
        "--init", metavar="NAME", help=f"initializer: {', '.join(INITIALIZERS)}; the network is looked at as it is if not given"
    )
    parser.add_argument("--options", nargs="+", default=[], metavar="KEY=VALUE", help="options of the initializer")
    parser.add_argument(
        "--input", type=_shape, metavar="3x224x224", help="shape of one input; the network's usual one if not given"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the initializer; 0 if not given")
    parser.add_argument(
        "--save",
        type=Path,
        metavar="FILE",
        help="where a picture of its signals goes; with --init NETWORK-INIT.png if not given",
    )


def _inspect(arguments: argparse.Namespace) -> None:
    picture, options = arguments.save, dict(map(_option, arguments.options))
    if arguments.init is None and options:
        raise UsageError("--options are those of an initializer: give its name, --init NAME")
    if arguments.init is not None:
        options = INITIALIZERS.check(arguments.init, options)
        if find_spec("matplotlib") is not None:
            picture = picture or Path(f"{re.sub(r'[^A-Za-z0-9_.]+', '-', arguments.network)}-{arguments.init}.png")
    if picture is not None:
        _check_picture(picture)
    model, inputs = load(arguments.network, arguments.input)
    if arguments.init is None:
        shown = str(examine(model, inputs))
    else:
        shown = str(initialize_(model, arguments.init, inputs, seed=arguments.seed, **options))
    if picture is not None:
        from .diagnostics.plot import draw_signals  # needs Matplotlib, which `_check_picture` has found

        title = f"{arguments.network}, {arguments.init or 'as it is'}"
        draw_signals(signal_profile(model, inputs), title).savefig(picture, dpi=160)
    weights = sum(parameter.numel() for parameter in model.parameters())
    print(f"{arguments.network}: {type(model).__name__}, {weights:,} weights, inputs {_shapes(inputs)}\n")
    print(shown)
    if picture is not None:
        print(f"\nPicture: {picture}")
    elif arguments.init is not None:
        print("\nNo picture, as Matplotlib is not installed: pip install 'idinit[plot]'")


def _shapes(inputs: Inputs) -> str:
    return ", ".join("x".join(map(str, leaf.shape)) for leaf in tree_leaves(inputs) if hasattr(leaf, "shape"))


def _check_picture(path: Path) -> None:
    with needs_extra("plot", f"--save {path}"):
        from matplotlib.backend_bases import FigureCanvasBase

    endings = sorted(FigureCanvasBase.get_supported_filetypes())
    if path.suffix[1:].lower() not in endings:
        raise UsageError(f"a picture cannot be written to '{path}': its ending must be one of {', '.join(endings)}")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder '{path.parent}' for the picture")


def _option(text: str) -> tuple[str, Any]:
    """A key and its value, which is JSON (true, null, 0.5) or else a string."""
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--options {text}: give KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _shape(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a shape: give sizes joined by x, e.g. 3x224x224, or 16 for tokens")
    return tuple(map(int, text.split("x")))


def _add_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pattern", nargs="?", metavar="PATTERN", help="shell pattern of names, e.g. '*fixup*'; all if none")


def _list(arguments: argparse.Namespace) -> None:
    infos = list_initializers(filter=arguments.pattern)
    if not infos:
        raise UsageError(f"no initializer matches '{arguments.pattern}': {did_you_mean(arguments.pattern, INITIALIZERS)}")
    rows = [(info.name, info.summary, ", ".join(info.needs) or "-", info.paper) for info in infos]
    print(text_table(("initializer", "what it does", "needs", "paper"), rows))
    if len(infos) == 1 and infos[0].options:
        options = [(option.name, option.type, str(option.default)) for option in infos[0].options]
        print(f"\n{text_table(('option', 'type', 'default'), options)}")


_COMMANDS = {
    "inspect": lambda: Command(_INSPECT, _add_inspect, _inspect),
    "list": lambda: Command(_LIST, _add_list, _list),
}
