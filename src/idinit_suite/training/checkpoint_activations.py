"""Activation checkpointing (Chen et al. 2016): blocks are computed again in the backward pass instead of being kept."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from idinit.errors import UsageError


def checkpoint_activations(model: nn.Module, again: Callable[[], AbstractContextManager[None]]) -> None:
    """Keeps of each block of a network its inputs only.

    The random numbers of a block are the same both times, so the gradients are.

    Args:
        model: The network; its modules, names and hooks stay.
        again: Context of the second computation, besides autocast, which is restored.

    Raises:
        UsageError: If it has no such blocks, or if blocks count what passes through them, as BatchNorm does.
    """
    blocks = repeated_blocks(model)
    if not blocks:
        raise UsageError("impl.checkpoint_activations=true: this network has no repeated blocks to compute again; leave it out")
    if any(isinstance(module, _BatchNorm) for block in blocks for module in block.modules()):
        raise UsageError(
            "impl.checkpoint_activations=true: BatchNorm would count each batch twice; leave it out, or choose another norm"
        )
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, context_fn=lambda: (nullcontext(), again()))


def repeated_blocks(model: nn.Module) -> list[nn.Module]:
    """The outermost items of lists and sequences of modules of one class, as the layers of a Transformer."""
    blocks = [
        block
        for parent in model.modules()
        if isinstance(parent, nn.ModuleList | nn.Sequential) and len(parent) > 1 and len({type(child) for child in parent}) == 1
        for block in parent.children()
        if any(True for _ in block.children())
    ]
    return [block for block in blocks if not any(block is not other and block in set(other.modules()) for other in blocks)]
