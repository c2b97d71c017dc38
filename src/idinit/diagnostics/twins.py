"""Equal weights that stay equal for ever, as symmetry gives them equal gradients at every step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from ..graph.probe import Inputs, gradients
from ..parts.blocks import matrices
from ..parts.structure import Structure

_COMPARED = 64
_STEPS = 2
_STEP = 0.1  # of the size of a weight, so that it shows
_SMALLEST = 1e-2  # size that a weight has at least, for the length of its step
Gradients = Mapping[str, Tensor | None]


def find_twins(model: nn.Module, example_inputs: Inputs, structure: Structure, first: Gradients) -> tuple[set[str], set[str]]:
    """The linear maps with units that are equal and stay so, and those that are equal as a whole, as in ``a(x) * b(x)``.

    Gradients are compared where they are not zero, as in a branch that is silent at first: a few steps of gradient descent
    show them. Those of equal layers have to be equal after each step, as two identities in a row have equal ones only at first.

    Args:
        model: Any module.
        example_inputs: The forward pass' arguments.
        structure: Its parts.
        first: The gradients before any step.

    Raises:
        UsageError: If the model does not run on the inputs in training mode.
    """
    own = {name: model.get_parameter(name).detach() for name in structure.layouts if first.get(name) is not None}
    own = {name: value for name, value in own.items() if value.any()}
    groups = _equal_maps(own)
    history = [first]
    if groups or len(own) > sum(_is_learning(first, name) for name in own):
        history += _later(model, example_inputs, first)
    units = set()
    for name, value in own.items():
        layout, gradient = structure.layouts[name], next((g[name] for g in history if _is_learning(g, name)), None)
        if layout is None or gradient is None or structure.slices.get(name):
            continue
        if any(map(_has_twins, matrices(value, layout), matrices(gradient, layout))):
            units.add(name)
    return units, {name for group in groups for pair in _equal_for_ever(group, history) for name in pair}


def _is_learning(found: Gradients, name: str) -> bool:
    gradient = found.get(name)
    return gradient is not None and bool(gradient.any())


def _later(model: nn.Module, example_inputs: Inputs, found: Gradients) -> Iterator[Gradients]:
    """The gradients after each of a few steps, none of which is small."""
    values = {name: parameter.detach() for name, parameter in model.named_parameters()}
    for _ in range(_STEPS):
        values = values | {name: _moved(values[name], given) for name, given in found.items() if given is not None}
        yield (found := gradients(model, example_inputs, values)[1])


def _moved(value: Tensor, gradient: Tensor) -> Tensor:
    """What a step of gradient descent makes of a weight."""
    size, length = value.double().square().mean().sqrt(), gradient.double().square().mean().sqrt()
    return value - (gradient * (_STEP * size.clamp(min=_SMALLEST) / length.clamp(min=1e-30))).to(value.dtype)


def _equal_maps(values: Mapping[str, Tensor]) -> list[list[str]]:
    """The names of weights that are equal, in groups."""
    groups: dict[tuple[object, ...], list[str]] = defaultdict(list)
    for name, value in values.items():
        few = value.flatten()[:: -(-value.numel() // _COMPARED)]
        key = (value.shape, value.dtype, value.device, *few.tolist())
        groups[key].append(name)
    equal = ([n for n in names if torch.equal(values[n], values[names[0]])] for names in groups.values() if len(names) > 1)
    return [names for names in equal if len(names) > 1]


def _equal_for_ever(names: list[str], history: list[Gradients]) -> Iterator[tuple[str, str]]:
    """Pairs of equal weights whose gradients are equal at every step, and not zero at the last."""
    learning = [name for name in names if _is_learning(history[-1], name)]
    learning.sort(key=lambda name: _size(history[-1], name))  # equal ones are neighbours
    for a, b in zip(learning, learning[1:], strict=False):
        if all(_is_close(found[a], found[b]) for found in history):
            yield a, b


def _size(found: Gradients, name: str) -> float:
    gradient = found[name]
    return 0.0 if gradient is None else float(gradient.double().norm())


def _is_close(a: Tensor | None, b: Tensor | None) -> bool:
    return a is not None and b is not None and bool((a.double() - b.double()).norm() <= 1e-3 * a.double().norm())


def _has_twins(rows: Tensor, gradients: Tensor) -> bool:
    """Whether two rows of [out, in, *kernel] are equal, and their gradients not zero and equal."""
    value, gradient = rows.flatten(1), gradients.flatten(1)
    if len(value) < 2:
        return False
    few = value[:, :: -(-value.shape[1] // _COMPARED)].double()  # equal rows are neighbours when sorted by a few columns
    keys, order = (few @ _directions(few.shape[1]).to(few.device)).sort()
    first = order[:-1][(keys[1:] - keys[:-1]) <= 1e-9 * keys[1:].abs()]
    second = order[1:][(keys[1:] - keys[:-1]) <= 1e-9 * keys[1:].abs()]
    equal = (value[first] == value[second]).all(1) & value[first].any(1)
    a, b = gradient[first].double(), gradient[second].double()
    return bool((equal & a.any(1) & ((a - b).norm(dim=1) <= 1e-5 * a.norm(dim=1))).any())


def _directions(size: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
