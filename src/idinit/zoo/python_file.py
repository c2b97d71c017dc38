"""Networks from a function in a Python file."""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from ..errors import UsageError, nearest
from ..graph.probe import Inputs
from . import BATCH


def build(name: str, shape: Sequence[int] | None = None) -> tuple[nn.Module, Inputs]:
    """Builds what ``factory()`` of a file returns: a network, or a network and its example inputs.

    Args:
        name: ``path/to/file.py:factory``.
        shape: Shape of one input, where the factory does not return inputs.

    Raises:
        UsageError: If there is no such file or function, or it returns something else.
    """
    path, _, factory = name.rpartition(".py:")
    file = Path(f"{path}.py")
    if not path or not factory:
        raise UsageError(f"'{name}' names no function: give FILE.py:FACTORY")
    if not file.is_file():
        raise UsageError(f"there is no file '{file}'")
    found = runpy.run_path(str(file))
    if not callable(found.get(factory)):
        functions = [key for key, value in found.items() if callable(value) and not key.startswith("_")]
        raise UsageError(f"'{file}' has no function '{factory}': {nearest(factory, functions) or 'give FILE.py:FACTORY'}")
    built = found[factory]()
    model, inputs = built if isinstance(built, tuple) and len(built) == 2 else (built, None)
    if not isinstance(model, nn.Module):
        raise UsageError(f"'{name}' returns {type(model).__name__}: it must return a network, or a network and example inputs")
    if inputs is None or shape is not None:
        if shape is None:
            raise UsageError(f"'{name}' returns no example inputs: give the shape of one, --input 3x224x224")
        inputs = (torch.randn(BATCH, *shape),)
    return model, inputs
