"""Fills parameters so that the weight computed from them (weight norm, spectral norm, ...) has the wanted values."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm

from ..parts.reparametrized import Computed

_EXACT, _NEAR = 1e-3, 0.2  # relative differences
_SILENT = 1e-3  # root mean square below which a weight silences its layer
_ROUNDS = 30


def fit(name: str, parameters: Mapping[str, Tensor], computed: Computed, kept: Container[str] = ()) -> str | None:
    """Adjusts a filled parameter and its magnitudes so that the layer computes the values with which it was filled.

    A magnitude takes the length that the weight should have. Without one, as in weight standardization, the scale is the
    layer's own, except near zero, where its epsilon lets small weights through.

    Args:
        name: The parameter; it holds the wanted weight.
        parameters: All parameters by name; the ones concerned are changed in place.
        computed: How the layer computes the weight.
        kept: Names of parameters that nothing may change.

    Returns:
        How the computed weight differs from the wanted one; empty where it does not. None if the layer cannot compute such a
        weight; the magnitudes are then as they were.
    """
    value = parameters[name]
    before = {key: parameters[key].clone() for key in computed.magnitudes if key not in kept}
    wanted = value.clone()
    if computed(parameters).shape != wanted.shape:
        return "its layer computes the weight from it, which is not checked"
    for key in before:
        _set_length(value, parameters[key].fill_(1), wanted, parameters, computed)
    if not computed.magnitudes and _size(wanted) < _SILENT:
        for _ in range(_ROUNDS):
            value.mul_(_size(wanted) / max(_size(computed(parameters)), 1e-30))
    acting = computed(parameters)
    ratio = _size(acting) / max(_size(wanted), 1e-30)
    if _difference(acting, wanted) < _EXACT:
        return ""
    if not computed.magnitudes and _undo(value, ratio, wanted, parameters, computed):
        return f"divided by {ratio:.3g}, by which the layer multiplies it"
    if _size(wanted) >= _SILENT and (rest := _difference(acting / ratio, wanted)) < _NEAR:
        return f"the layer scales it by {ratio:.3g}, within {rest:.0%}"
    for key, old in before.items():
        parameters[key].copy_(old)
    return None


def _undo(value: Tensor, ratio: float, wanted: Tensor, parameters: Mapping[str, Tensor], computed: Computed) -> bool:
    """Divides a parameter by a constant with which its layer multiplies it (equalized learning rate, Karras et al. 2018).

    Returns:
        Whether the layer then computes the wanted weight; else the parameter is as it was.
    """
    before = value.clone()
    value.div_(ratio)
    if ratio > 0 and _difference(computed(parameters), wanted) < _EXACT:
        return True
    value.copy_(before)
    return False


def settle(module: nn.Module) -> None:
    """Gives spectral normalization the first singular vectors of its weight, towards which it takes a step in each pass.

    They are computed, as the steps may be many: the vectors of the weight before may be nearly orthogonal to those of this one.
    """
    for weight in getattr(module, "parametrizations", {}).values():
        for normalize in weight:
            if isinstance(normalize, _SpectralNorm) and weight.original.ndim > 1:
                _set_vectors(normalize._reshape_weight_to_matrix(weight.original), normalize._u, normalize._v)
    for hook in module._forward_pre_hooks.values():  # the older torch.nn.utils.spectral_norm
        if isinstance(hook, SpectralNorm):
            matrix = hook.reshape_weight_to_matrix(getattr(module, f"{hook.name}_orig"))
            _set_vectors(matrix, getattr(module, f"{hook.name}_u"), getattr(module, f"{hook.name}_v"))


@torch.no_grad()
def _set_vectors(matrix: Tensor, left: Tensor, right: Tensor) -> None:
    lefts, _, rights = torch.linalg.svd(matrix.double(), full_matrices=False)
    left.copy_(lefts[:, 0])
    right.copy_(rights[0])


def _set_length(value: Tensor, magnitude: Tensor, wanted: Tensor, parameters: Mapping[str, Tensor], computed: Computed) -> None:
    """Sets a magnitude so that the weight has the wanted lengths: of its rows, or by the dimensions of the magnitude."""
    shape = (1,) * (wanted.ndim - magnitude.ndim) + tuple(magnitude.shape)
    length = _lengths(wanted, shape)
    value.copy_(torch.where(length > 0, wanted, torch.ones_like(wanted)))  # zeros have no direction
    magnitude.copy_((length / _lengths(computed(parameters), shape)).view_as(magnitude))


def _lengths(weight: Tensor, shape: Sequence[int]) -> Tensor:
    """The lengths of a weight along all dimensions in which a shape has size 1."""
    dims = [dim for dim, size in enumerate(shape) if size == 1]
    return torch.linalg.vector_norm(weight, dim=dims, keepdim=True) if dims else weight.abs()


def _size(weight: Tensor) -> float:
    return weight.double().square().mean().sqrt().item()


def _difference(acting: Tensor, wanted: Tensor) -> float:
    difference = _size(acting - wanted) / max(_size(wanted), 1e-30) if wanted.any() else _size(acting)
    return math.inf if math.isnan(difference) else difference
