"""Initializers by name, one small file each: a function that fills a `Network` by the parts of its weights.

To add one, add a file here with a function registered in `INITIALIZERS`; its keyword-only parameters are its options.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules

from ..network.requirements import Need
from ..registry import Registry


@dataclass(frozen=True)
class Method:
    """Description of an initializer.

    Attributes:
        paper: The publication it is from.
        needs: What it requires of a network, which is checked before it runs.
        pitfalls: Mistakes that public implementations of it make, a sentence each; this one is tested against the publication.
    """

    paper: str
    needs: tuple[Need, ...] = ()
    pitfalls: tuple[str, ...] = ()


INITIALIZERS: Registry[Callable[..., None], Method] = Registry("initializer")

for _module in iter_modules(__path__):
    import_module(f".{_module.name}", __name__)
