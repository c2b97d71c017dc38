"""A user's functions and classes, by name."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from idinit.errors import UsageError, did_you_mean


def resolve_target(target: str, option: str) -> Callable[..., Any]:
    """Finds a function or class, in the working directory or among what is installed.

    Args:
        target: ``module:name``, e.g. ``my_package.my_module:Net``.
        option: What an error calls it, e.g. ``model.target``.

    Raises:
        UsageError: If there is no such module or name, or it cannot be called. Errors of the module itself pass through.
    """
    module_name, _, name = target.partition(":")
    if not name or not all(part.isidentifier() for part in module_name.split(".")):
        raise UsageError(
            f"{option}={target}: give MODULE:NAME, e.g. my_module:Net for Net in my_module.py of the working directory"
        )
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # a module that it imports in turn
        raise UsageError(f"{option}={target}: there is no module '{error.name}' in {here} or installed") from None
    if not hasattr(module, name):
        public = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise UsageError(f"{option}={target}: {module.__file__} has no '{name}': {did_you_mean(name, public)}")
    found = getattr(module, name)
    if not callable(found) or isinstance(found, nn.Module):
        raise UsageError(f"{option}={target}: it has type {type(found).__name__}, and it must be a function or a class")
    return found


def call_target(found: Callable[..., Any], given: Mapping[str, Any], group: str) -> Any:
    """Calls a function or class of `resolve_target`.

    Args:
        found: What to call.
        given: Its keyword arguments.
        group: The group of the configuration that holds its options: ``data`` or ``model``.

    Raises:
        UsageError: If it does not take these arguments, or needs others. Errors of its own pass through.
    """
    parameters = inspect.signature(found).parameters
    needed = [name for name, parameter in parameters.items() if parameter.default is parameter.empty]
    try:
        inspect.signature(found).bind(**given)
    except TypeError as error:
        lacking = [f"+{group}.options.{name}=VALUE" for name in needed if name not in given]
        remedy = f"give it as {', '.join(lacking)}" if lacking else f"it takes {', '.join(parameters) or 'none'}"
        raise UsageError(f"{group}.target: '{found.__name__}' cannot be called: {error}: {remedy}") from None
    return found(**given)
