"""Analyses of the paper that are not grids of trainings, by name: a small folder each.

To add one, add a folder here. The function registered in `STUDIES` in its ``measure.py`` gets the setting, its keyword-only
parameters are its options, and it gives the cells to compute. What the rows show is drawn and judged in ``findings.py``.
"""

from importlib import import_module
from pkgutil import iter_modules

from .base import STUDIES, Cell, Row, Setting

__all__ = ["STUDIES", "Cell", "Row", "Setting"]

for _module in iter_modules(__path__):
    if _module.ispkg and _module.name != "tools":
        import_module(f".{_module.name}.measure", __name__)
