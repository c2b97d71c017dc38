"""Initialize any PyTorch network with any of over twenty published methods, and see what was done."""

from . import diagnostics, init
from .diagnostics.examine import examine
from .diagnostics.zeros import check_zeros
from .errors import UsageError
from .initialize import initialize_, list_initializers
from .network.scalars import param_groups
from .parts import find_parts

__version__ = "0.1.0"

__all__ = [
    "UsageError",
    "check_zeros",
    "diagnostics",
    "examine",
    "find_parts",
    "init",
    "initialize_",
    "list_initializers",
    "param_groups",
]
