"""Signal propagation at selected modules: sizes of activations forward, and of gradients back.

`idinit.diagnostics.signal_profile.signal_profile` finds the places itself, layers and residual sums, and is what
``report.plot()`` draws; here the caller chooses the modules, the mode and what is propagated back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError, did_you_mean
from ..graph.probe import preserve_state
from .signal_profile import root_mean_square


@dataclass(frozen=True)
class Signal:
    """Sizes of what a module puts out.

    Attributes:
        module: Its dotted name.
        activation: Root mean square of its output.
        gradient: Root mean square of the gradient with respect to its output; 0 where none arrives.
    """

    module: str
    activation: float
    gradient: float


@contextmanager
def watched(model: nn.Module, modules: Iterable[str], record: Callable[[str, Any], Tensor | None]) -> Iterator[None]:
    """Calls a function with the name and the output of each of some modules; the network is left as it was afterwards.

    Args:
        model: The network, to be called in the block.
        modules: Dotted names of its modules.
        record: Its answer, unless that is None, is passed on in place of the output.

    Raises:
        UsageError: If a module is not there.
    """
    children = dict(model.named_modules())
    with preserve_state(model), ExitStack() as stack:
        for name in modules:
            if name not in children:
                raise UsageError(f"unknown module '{name}': {did_you_mean(name, filter(None, children))}")
            handle = children[name].register_forward_hook(lambda _module, _args, output, name=name: record(name, output))
            stack.callback(handle.remove)
        yield


def signal_sizes(
    model: nn.Module,
    inputs: tuple[Any, ...],
    modules: Iterable[str] | None = None,
    *,
    cotangent: Tensor | None = None,
) -> list[Signal]:
    """Sizes of activations and gradients at the modules of a network, in the order in which they are called.

    In a network whose size of signals grows or shrinks by a factor each layer, both change exponentially with depth
    (Schoenholz et al. 2017, "Deep information propagation").

    Args:
        model: Any module that returns a tensor; in the mode, precision and device in which it is.
        inputs: Positional arguments of one forward pass.
        modules: Dotted names of the modules to look at; by default all without children. Those that are not called, or
            do not return a tensor, are left out. One that is called several times counts once, with its last output.
        cotangent: What is propagated back from the output, of its shape: the gradient of a loss with respect to the
            output. By default numbers from a standard normal, always the same.

    Returns:
        A record for each module, in order of execution.

    Raises:
        UsageError: If a module is not there, or the output is not a tensor.
    """
    if modules is None:
        modules = [name for name, module in model.named_modules() if next(module.children(), None) is None]
    outputs: dict[str, Tensor] = {}

    def record(name: str, output: Any) -> Tensor | None:
        if not isinstance(output, Tensor):
            return None
        outputs.pop(name, None)  # in order of the last call
        # A view of its own: an in-place activation would overwrite what is recorded.
        outputs[name] = output if output.requires_grad else output.detach().requires_grad_()
        return outputs[name].clone()

    with watched(model, modules, record):
        out = model(*inputs)
        if not isinstance(out, Tensor):
            raise UsageError(f"the network returns {type(out).__name__}, not a tensor: wrap it in a module that returns one")
        if cotangent is None:
            cotangent = torch.randn(out.shape, generator=torch.Generator().manual_seed(0)).to(out)
        gradients = torch.autograd.grad(out, list(outputs.values()), cotangent, allow_unused=True)
    return [
        Signal(name, root_mean_square(output), 0.0 if gradient is None else root_mean_square(gradient))
        for (name, output), gradient in zip(outputs.items(), gradients, strict=True)
    ]
