"""torch's own initialization."""

from __future__ import annotations

import copy

import torch
from torch import Generator, Tensor, nn

from ..network import Network
from . import INITIALIZERS


@INITIALIZERS.register("default", paper="none: reset_parameters of torch's modules", claims=("C8",), needs=())
def default(net: Network) -> None:
    """torch's own: what each module's ``reset_parameters`` gives its weights, biases and norms.

    Parameters of a module without that method are left alone.
    """
    left = net.names()
    # Children first: a module that treats its children specially (MultiheadAttention) has the last word.
    for prefix, module in reversed(list(net.model.named_modules())):
        for leaf, value in _draw(module, net.generator).items():
            name = f"{prefix}.{leaf}" if prefix else leaf
            if name in left:  # a tied parameter is known by its first name only
                net.set(name, value, "torch default")
                left.remove(name)
    for name in left:
        net.leave(name, "its module has no reset_parameters")


def _draw(module: nn.Module, generator: Generator) -> dict[str, Tensor]:
    """What ``reset_parameters`` gives a module's own parameters, drawn on a shadow of the module in CPU memory."""
    reset = next((name for name in ("reset_parameters", "_reset_parameters") if hasattr(module, name)), None)
    if reset is None or not module._parameters:
        return {}
    shadow = copy.copy(module)
    shadow._parameters = {name: None if p is None else _like(p) for name, p in module._parameters.items()}
    shadow._buffers = {name: None if b is None else b.clone() for name, b in module._buffers.items()}
    seed = torch.randint(2**63 - 1, (), generator=generator).item()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(seed))  # torch.manual_seed would reseed CUDA as well
        getattr(shadow, reset)()
    return {name: p.detach() for name, p in shadow._parameters.items() if p is not None}


def _like(p: Tensor) -> nn.Parameter:
    return nn.Parameter(torch.empty(p.shape, dtype=torch.promote_types(p.dtype, torch.float32)))
