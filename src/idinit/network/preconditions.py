"""Checks of arguments and networks that every method requires."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from numbers import Integral

from torch import Generator, nn

from ..errors import UsageError
from ..graph.probe import require_model
from ..parts.structure import patterns_for

_WRAPPERS = ("DataParallel", "DistributedDataParallel", "FullyShardedDataParallel", "OptimizedModule")
_SHARDED = {"FullyShardedDataParallel", "FSDPModule"}


def require_arguments(
    model: object, method: object, seed: object = None, generator: object = None, keep: object = (), replace: object = ()
) -> None:
    """Makes sure that the arguments are what their names promise, and in order.

    Raises:
        UsageError: If one is something else.
    """
    require_model(model)
    if not isinstance(method, str):
        raise UsageError(f"the method has type {type(method).__name__}, not str: initialize_(model, 'idinit', example_inputs)")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, Integral) or not -(2**63) <= int(seed) < 2**64):
        raise UsageError(f"seed={seed!r}: give an integer of 64 bits")
    if not isinstance(generator, Generator | None):
        raise UsageError(f"generator has type {type(generator).__name__}: give a torch.Generator(), or seed=")
    for name, patterns in (("keep", keep), ("replace", replace)):
        if not isinstance(patterns, Collection) or not all(isinstance(pattern, str) for pattern in patterns):
            raise UsageError(f"{name}={patterns!r:.60}: give a shell pattern of names of parameters, or several")


def require_initializable(model: nn.Module) -> None:
    """Makes sure that the parameters are there, and under their own names.

    Raises:
        UsageError: If the model is wrapped, sharded, quantized, on the meta device or made in inference mode.
    """
    if type(model).__name__ in _WRAPPERS:
        inner = "_orig_mod" if hasattr(model, "_orig_mod") else "module"
        raise UsageError(
            f"the model is wrapped in {type(model).__name__}: initialize what it wraps, model.{inner}, before wrapping"
        )
    if next(model.parameters(), None) is None:
        raise UsageError("the model has no parameters: a quantized one is initialized before it is quantized")
    for module in model.modules():
        if {base.__name__ for base in type(module).__mro__} & _SHARDED:
            raise UsageError("the model is sharded over processes: initialize it before fully_shard")
    for name, parameter in model.named_parameters():
        if parameter.is_meta:
            raise UsageError(
                f"the model is on the meta device, which holds no values; call model.to_empty(device=...) first{_ties(model)}"
            )
        if parameter.is_inference():
            raise UsageError(f"'{name}' was made under torch.inference_mode() and can never be trained: make the model outside")
        if hasattr(parameter, "device_mesh"):
            raise UsageError(f"'{name}' is distributed over processes: initialize the model before it is")


def _ties(model: nn.Module) -> str:
    """What else to do for a model on the meta device whose parameters are tied: ``to_empty`` gives each name its own memory."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    tied = next((own for own in names.values() if len(own) > 1), None)
    return f", and tie '{tied[1]}' to '{tied[0]}' again: it would have memory of its own" if tied else ""


def require_real(model: nn.Module, kept: Mapping[str, str]) -> None:
    """Makes sure that all parameters but those kept are real.

    Raises:
        UsageError: If one is complex.
    """
    parameters = dict(model.named_parameters())
    found = [name for name, parameter in parameters.items() if parameter.is_complex()]
    if first := next((name for name in found if name not in kept), None):
        raise UsageError(
            f"'{first}' is complex, and the methods are defined for real weights: leave all complex ones alone, "
            f"keep={patterns_for(found, parameters)}"
        )
