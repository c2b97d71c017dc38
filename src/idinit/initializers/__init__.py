"""Initializers by name, one small file each: a function that fills a `Network` by the parts of its weights.

To add one, add a file here with a function registered in `INITIALIZERS`; its keyword-only parameters are its options.
Facts given when registering: ``paper``, the publication; ``claims``, the rows of the claims table it takes part in;
``needs``, what the network must be like, keys of `idinit.initialize.NEEDS`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules

from ..registry import Registry

INITIALIZERS: Registry[Callable[..., None]] = Registry("initializer")

for _module in iter_modules(__path__):
    import_module(f".{_module.name}", __name__)
