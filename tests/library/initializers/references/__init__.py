"""Slow, literal versions of every initializer: what its definition puts into each parameter, in the order of the draws."""

from .attention import conditioned, deepnorm, mimetic, small_init, t_fixup
from .measured import admin, lsuv
from .plain import default, delta_orthogonal, kaiming, lecun, orthogonal, sinusoidal, siren, xavier, zero
from .reference import Reference
from .residual import depth_scaled, fixup, gpt2, idinit, rezero, skipinit, zero_gamma

__all__ = ["REFERENCES", "Reference"]

REFERENCES = {
    function.__name__: function
    for function in (
        *(default, xavier, kaiming, orthogonal, delta_orthogonal, zero, lecun, sinusoidal, siren),
        *(zero_gamma, fixup, skipinit, rezero, idinit, gpt2, depth_scaled),
        *(small_init, conditioned, mimetic, t_fixup, deepnorm),
        *(admin, lsuv),
    )
}
