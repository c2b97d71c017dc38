"""Measures of a network, for any ``torch.nn.Module``: none of them changes it.

How signals travel (`signal_sizes`), whether it is a dynamical isometry (`jacobian_singular_values`), how much of its
width it uses (`numerical_rank`, `effective_rank`), and which of its weights and units are dead (`unmoved`,
`largest_gradients`, `largest_activations`).
"""

from .dead import largest_activations, largest_gradients, unmoved
from .jacobian import jacobian_singular_values, largest_singular_values
from .rank import effective_rank, numerical_rank
from .signals import Signal, signal_sizes

__all__ = [
    "Signal",
    "effective_rank",
    "jacobian_singular_values",
    "largest_activations",
    "largest_gradients",
    "largest_singular_values",
    "numerical_rank",
    "signal_sizes",
    "unmoved",
]
