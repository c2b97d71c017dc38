"""Compile once, train many: runs of one process whose networks have the same graph share one compiled network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from torch import nn

from idinit.network.scalars import named_scalars

Signature = tuple[Any, ...]


class CompiledNetworks:
    """Networks that were compiled in this process, by their structure."""

    def __init__(self) -> None:
        self._known: dict[Signature, tuple[nn.Module, nn.Module]] = {}

    def get_or_compile(
        self, model: nn.Module, options: Mapping[str, Any], compile_options: Mapping[str, Any] | None = None
    ) -> tuple[nn.Module, nn.Module]:
        """A network with the weights of ``model`` and its compiled form.

        Args:
            model: A freshly initialized network. Where one of the same structure was compiled before, that one takes over
                its state and ``model`` itself is not needed any more.
            options: What it was built from: its name and its options.
            compile_options: Those of torch.compile.

        Returns:
            The network to train, and its compiled form, which shares its weights.
        """
        import torch._dynamo  # slow to import, and needed by no run that is not compiled
        import torch._functorch.config

        # Networks of several structures run through the same forward methods; past its limit Dynamo would not compile them.
        torch._dynamo.config.recompile_limit = 256
        # Where a scalar shifts what a ReLU returns, the backward pass would read a mask of booleans that the forward pass
        # wrote. Compiled for the CPU this is slow: Fixup's ResNet-20 takes 2.5 times as long as with the mask computed again.
        torch._functorch.config.aggressive_recomputation = _is_on_cpu(model) and any(named_scalars(model))
        key = (*sorted((compile_options or {}).items()), *_signature(model, options))
        if key not in self._known:
            self._known[key] = (model, cast(nn.Module, torch.compile(model, options=dict(compile_options or {}))))
        network, compiled = self._known[key]
        if network is not model:
            network.load_state_dict(model.state_dict())
            network.train(model.training)
            network.zero_grad(set_to_none=True)
        return network, compiled


def _is_on_cpu(model: nn.Module) -> bool:
    return all(parameter.device.type == "cpu" for parameter in model.parameters())


def _signature(model: nn.Module, options: Mapping[str, Any]) -> Signature:
    """Equal for networks that compile to the same code: their options, the modules as printed, their hooks, their tensors.

    Options tell what is neither printed nor seen in a tensor, as the number of heads; the others what comes from the data
    and the initializer.
    """
    hooks = tuple(
        (name, len(m._forward_hooks), len(m._forward_pre_hooks))
        for name, m in model.named_modules()
        if m._forward_hooks or m._forward_pre_hooks
    )
    held = {**model.state_dict(), **dict(model.named_buffers())}  # buffers that are not saved included
    tensors = tuple((name, t.shape, t.dtype, t.device, t.stride()) for name, t in held.items())
    return (json.dumps(options, sort_keys=True, default=str), repr(model), hooks, tensors)
