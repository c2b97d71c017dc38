"""Initialize any PyTorch network with any method, and see what was done."""

from . import init
from .errors import UsageError
from .initialize import initialize_, list_initializers
from .parts import find_parts
from .scalars import param_groups
from .zeros import check_zeros

__all__ = ["UsageError", "check_zeros", "find_parts", "init", "initialize_", "list_initializers", "param_groups"]
