"""Initialize any PyTorch network with any method, and see what was done."""

from . import init
from .diagnostics.zeros import check_zeros
from .errors import UsageError
from .initialize import initialize_, list_initializers
from .network.scalars import param_groups
from .parts import find_parts

__all__ = ["UsageError", "check_zeros", "find_parts", "init", "initialize_", "list_initializers", "param_groups"]
