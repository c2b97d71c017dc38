"""The network's own initialization."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator

import torch
from torch import Generator, Tensor, nn

from ..network import Network
from . import INITIALIZERS


@INITIALIZERS.register("default", paper="none: what the network's modules do when they are made", claims=("C8", "C9"), needs=())
def default(net: Network) -> None:
    """The network's own: what ``init_weights`` of its model (timm, Hugging Face) or ``reset_parameters`` of each module gives.

    Parameters of which neither speaks are left alone.
    """
    left = net.names()
    for rule, values in (("init_weights", _of_models(net)), ("torch default", _of_modules(net))):
        for name, value in values:
            if name in left:  # a tied parameter is known by its first name only
                net.set(name, value, rule)
                left.remove(name)
    for name in left:
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
    """What ``reset_parameters`` gives each module's own parameters, drawn on a shadow of the module in CPU memory."""
    # Children first: a module that treats its children specially (MultiheadAttention) has the last word.
    for prefix, module in reversed(list(net.model.named_modules())):
        reset = next((name for name in ("reset_parameters", "_reset_parameters") if hasattr(module, name)), None)
        if reset is None or not module._parameters:
            continue
        shadow = copy.copy(module)
        shadow._parameters = {name: None if p is None else _like(p) for name, p in module._parameters.items()}
        shadow._buffers = {name: None if b is None else b.clone() for name, b in module._buffers.items()}
        _run(getattr(shadow, reset), net.generator)
        for name, p in shadow._parameters.items():
            if p is not None:
                yield f"{prefix}.{name}" if prefix else name, p.detach()


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
    """A parameter of the same shape, of which every value that is not set later shows."""
    return nn.Parameter(torch.full(p.shape, torch.nan, dtype=torch.promote_types(p.dtype, torch.float32)), p.requires_grad)
