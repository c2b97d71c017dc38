"""The network's own initialization."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator

import torch
from torch import Generator, Tensor, nn

from ..network import Network
from . import INITIALIZERS, Method


@INITIALIZERS.register("default", Method(paper="none: what the network's modules do when they are made"))
def default(net: Network) -> None:
    """The network's own: what ``init_weights`` of its model (timm, Hugging Face) or ``reset_parameters`` of each module gives.

    Parameters that neither sets are left alone.
    """
    for name, value in _of_models(net):
        if name in net.rest():  # a tied parameter is known by its first name only
            net.set(name, value, "init_weights")
    for weight in net.weights():
        if weight.name in net.structure.computed.keys() & net.rest():
            net.fill_default(weight)
    for name, value in _of_modules(net):
        if name in net.rest():
            net.set(name, value, "torch default")
    for name in net.rest():
        net.leave(name, "its module has neither reset_parameters nor init_weights")


def _of_models(net: Network) -> Iterator[tuple[str, Tensor]]:
    """What ``init_weights`` of the outermost modules that have it gives all parameters below, drawn on a copy in CPU memory."""
    done: tuple[str, ...] = ()
    for prefix, module in net.model.named_modules():
        if prefix.startswith(done) or not _callable_alone(getattr(module, "init_weights", None)):
            continue
        done = (*done, f"{prefix}." if prefix else "")
        shadow = copy.deepcopy(module)
        for part in shadow.modules():
            part.__dict__.pop("_is_hf_initialized", None)  # with it, Hugging Face's models would do nothing
            part._parameters = {name: None if p is None else _like(p) for name, p in part._parameters.items()}
        _run(shadow.cpu().init_weights, net.generator)
        for name, value in shadow.named_parameters(remove_duplicate=False):
            if not value.isnan().any():
                yield f"{prefix}.{name}" if prefix else name, value.detach()


def _of_modules(net: Network) -> Iterator[tuple[str, Tensor]]:
    """What ``reset_parameters`` gives modules that have parameters left to fill, drawn on a shadow of each in CPU memory."""
    left = set(net.rest())
    # Children first: a module that treats its children specially (MultiheadAttention) has the last word.
    for prefix, module in reversed(list(net.model.named_modules())):
        reset = next((name for name in ("reset_parameters", "_reset_parameters") if hasattr(module, name)), None)
        if reset is None or left.isdisjoint(f"{prefix}.{name}" if prefix else name for name in module._parameters):
            continue
        shadow = _shadow(module)
        _run(getattr(shadow, reset), net.generator)
        for name, p in shadow._parameters.items():
            if p is not None and not p.isnan().any():
                yield f"{prefix}.{name}" if prefix else name, p.detach()


def _shadow(module: nn.Module) -> nn.Module:
    """A copy with parameters of its own in CPU memory, also in place of what is computed from others, as by weight norm."""
    parametrized = getattr(module, "parametrizations", {})
    plain: type[nn.Module] = type(module).__mro__[1] if parametrized else type(module)
    computed = {name: max(of.parameters(), key=Tensor.numel) for name, of in parametrized.items()}
    computed |= {name: v for name, v in module.__dict__.items() if isinstance(v, Tensor) and v.is_floating_point()}
    shadow = plain.__new__(plain)
    shadow.__dict__.update({name: value for name, value in module.__dict__.items() if name not in computed})
    own = module._parameters | computed
    shadow._parameters = {name: None if p is None else _like(p) for name, p in own.items()}
    shadow._buffers = {name: None if b is None else b.clone() for name, b in module._buffers.items()}
    return shadow


def _callable_alone(method: object) -> bool:
    """Whether a method needs no arguments."""
    if not callable(method):
        return False
    wanted = inspect.signature(method).parameters.values()
    return all(p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in wanted)


def _run(initialize: Callable[[], object], generator: Generator) -> None:
    seed = torch.randint(2**63 - 1, (), generator=generator).item()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(seed))  # torch.manual_seed would reseed CUDA as well
        initialize()


def _like(p: Tensor) -> nn.Parameter:
    """A parameter of the same shape, NaN throughout, so that values that are not set later show."""
    return nn.Parameter(torch.full(p.shape, torch.nan, dtype=torch.promote_types(p.dtype, torch.float32)), p.requires_grad)
