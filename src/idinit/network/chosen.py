"""Values that a model's author chose: start values that no default initialization of a module gives.

Some parameters start where they do on purpose: the step sizes of a state space model (a bias spread over negative numbers),
the prior of a detector (-4.6), the gate of a highway network (-2), the identity of a spatial transformer, the offsets of a
deformable convolution (0), the modulation of adaLN-Zero (0), the convolutions by which a ControlNet joins (0), the second
matrix of LoRA (0). These are kept unless ``replace`` names them. Where methods have their own rule for what an author set,
as for the last weight of a branch, the report says what it was.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..parts.structure import MAPS, Structure, owner_of

_SMALLEST, _LARGEST = 1e-6, 1e3  # beyond these it is rounding, or uninitialized memory
_FEW = 16
_RISING = 8  # a random draw of this many is in order once in 20,000 times
_CORNER = 2 * _RISING


def find_chosen(model: nn.Module, structure: Structure) -> dict[str, str]:
    """The parameters that hold values chosen by the model's author, and what these are.

    These are biases that are neither 0 nor a sample of torch's default, U(-b, b) with b = 1/sqrt(fan-in): constant, of a few
    values, or all of one sign and beyond b; then weights of zeros with such a bias; and weights of zeros, with their biases,
    whatever these are, of layers whose output says where another value is read, what it is multiplied with (be it by some of
    the rows) or, but for the end of a branch, what is added to it. No method here fills these weights with zeros.
    Learned values that are added or read as they are count where they are all one number, not 0, or in order, as a policy's
    log standard deviation or the decay of each channel.
    The bias of a branch's last weight is none of these: with it no method could start the branch at zero.
    In a network whose normalizations hold other values than 0 and 1 nothing counts as chosen: it has been trained. Where
    they are all 0, or all maps are, zeros are uninitialized memory.

    Args:
        model: A network.
        structure: Its parts.
    """
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    if any(_is_trained(parameters[name]) for name, part in structure.parts.items() if part == "norm" and name in parameters):
        return {}
    found = {}
    for name, value in parameters.items():
        keeper = structure.keepers.get(name)
        is_ours = keeper is not None and value.sum() == keeper.stop - keeper.start == value.count_nonzero()
        is_end = structure.parts.get(_sibling(name, "weight")) == "branch_end"
        if structure.parts.get(name) in ("embedding", "position") and _is_laid_out(value):
            found[name] = _described(value)
        if (
            structure.parts.get(name) == "bias"
            and not (is_ours or is_end)
            and _is_chosen(value.double(), _default_bound(name, parameters))
        ):
            found[name] = _described(value)
    if _is_blank(parameters, structure):
        return found
    for name, value in parameters.items():
        if structure.parts.get(name) not in MAPS or not _is_zero(value):
            continue
        bias, part = _sibling(name, "bias"), structure.parts[name]
        joins = name in structure.added and part in ("stem", "trunk", "branch", "shortcut")
        gates = part == "gate" or any(piece.part == "gate" for piece in structure.slices.get(name, ()))
        if bias in found or name in structure.coordinates or gates or joins:
            found[name] = "0"
            if bias in parameters:
                found.setdefault(bias, _described(parameters[bias]))
    return {name: found[name] for name in parameters if name in found}


def find_patterns(model: nn.Module, structure: Structure) -> dict[str, str]:
    """The parameters that no random draw gave their values, and what these are: one number throughout, or an identity.

    A normalization's usual scale and shift are left out, and so is the one number of a parameter that holds a single one,
    unless it is a scale. There are none in a network in which zeros say nothing, see `find_chosen`.

    Args:
        model: A network.
        structure: Its parts.
    """
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    if _is_blank(parameters, structure):
        return {}
    found = {}
    for name, value in parameters.items():
        part, usual = structure.parts.get(name), structure.neutral.get(name)
        is_usual = part == "norm" and usual is not None and bool((value == usual).all())
        if (value.numel() > 1 or part == "scale") and not is_usual and (text := pattern_of(value)):
            found[name] = text
    return found


def pattern_of(value: Tensor) -> str:
    """What a tensor holds if it is one number, or an identity, on the centre tap of a kernel; else nothing."""
    first, last = value[(0,) * value.ndim], value[(-1,) * value.ndim]
    if bool(first == last) and bool((value == first).all()):  # the comparison of two saves most of the others
        return _described(value) if not first or _SMALLEST <= abs(first) < _LARGEST else ""
    if value.ndim < 2 or value.shape[0] != value.shape[1] or int(value[0].count_nonzero()) != 1:
        return ""
    centre = value
    for size in value.shape[2:]:
        centre = centre.select(2, size // 2)
    is_identity = torch.equal(centre, torch.eye(len(value)).to(value)) and int(value.count_nonzero()) == len(value)
    return "the identity" if is_identity else ""


def _sibling(parameter: str, name: str) -> str:
    """The name of another parameter of the same module."""
    return f"{owner_of(parameter)}.{name}".lstrip(".")


def _is_blank(parameters: dict[str, Tensor], structure: Structure) -> bool:
    """Whether zeros say nothing, as nobody has put other values anywhere."""
    for parts in (("norm",), MAPS):
        values = [value for name, value in parameters.items() if structure.parts.get(name) in parts]
        if values and all(map(_is_zero, values)):
            return True
    return False


def _is_zero(value: Tensor) -> bool:
    return not _corner(value, 1).any() and not value.any()


def _corner(value: Tensor, size: int) -> Tensor:
    """A piece that tells in most cases what would take long to read off the whole."""
    return value[(slice(size),) * value.ndim]


def _is_chosen(value: Tensor, bound: float) -> bool:
    size = float(value.abs().max())
    if not _SMALLEST < size < _LARGEST:  # NaN is not, either
        return False
    count, distinct = value.numel(), value.unique().numel()
    if count == 1:
        return size > bound
    if distinct <= min(_FEW, count // 2):
        return True
    return size > bound and bool((value > 0).all() or (value < 0).all())


def _is_laid_out(value: Tensor) -> bool:
    """Whether a table has one value, not 0, or rises or falls along a dimension throughout, as no random draw does."""
    if not _is_in_order(_corner(value, _CORNER).double()):
        return False
    return _SMALLEST < float(value.abs().max()) < _LARGEST and _is_in_order(value.double())


def _is_in_order(value: Tensor) -> bool:
    first = value.flatten()[0]
    if value.numel() > 1 and bool((value == first).all()):
        return True
    steps = (value.diff(dim=dim) for dim, size in enumerate(value.shape) if size >= _RISING)
    return any(bool((step > 0).all() or (step < 0).all()) for step in steps)


def _default_bound(name: str, parameters: dict[str, Tensor]) -> float:
    """The bound of the uniform distribution that torch draws a layer's bias from."""
    weight = parameters.get(_sibling(name, "weight"))
    return 1.0 if weight is None or weight.ndim < 2 else weight[0].numel() ** -0.5  # of a transposed convolution too


def _is_trained(norm: Tensor) -> bool:
    """Whether a normalization's scale or shift is neither 0 nor 1."""
    first = norm.flatten()[0]
    return bool((norm != first).any()) or float(first) not in (0.0, 1.0)


def _described(value: Tensor) -> str:
    low, high = value.min().item(), value.max().item()
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
