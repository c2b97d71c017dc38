"""Initializes a network and shows what was done: a table of its parameters, and a picture of its signals.

python -m idinit inspect timm:resnet50 --init idinit --options tau=0.5
python -m idinit inspect hf:bert --save bert.svg
python -m idinit inspect nets.py:make_net --input 3x32x32
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import yaml
from matplotlib.backend_bases import FigureCanvasBase
from torch.utils._pytree import tree_leaves

from ..errors import UsageError
from ..initialize import initialize_
from ..initializers import INITIALIZERS
from ..plot import draw_signals
from ..signal import measure_signal
from ..zoo import load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
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


def run(arguments: argparse.Namespace) -> None:
    """Does it.

    Raises:
        UsageError: If a name, an option, the shape or the picture's file is none.
    """
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
