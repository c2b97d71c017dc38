"""Usual alternatives to train a model with, by the kind of model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch

from idinit.errors import UsageError

from ..config import RunConfig
from ..data import Batches, Images
from .dataloader_loop import ordinary_loop
from .hf_trainer import TrainerInTurns
from .timm_loop import timm_loop

Step = Callable[[], Any]

# The Trainer and timm's script leave these to the user, and the best counts. Without the fused kernel attention is plain
# matrix products, of which the backward pass is faster on a CPU.
_SETTINGS: dict[str, dict[str, bool]] = {
    "bf16": {},
    "bf16, attention not fused": {"fused": False},
    "bf16, compiled": {"compiled": True},
    "bf16, compiled, attention not fused": {"compiled": True, "fused": False},
}


def rivals(config: RunConfig, data: Batches, device: torch.device, ends: ExitStack) -> dict[str, Step]:
    """Other loops that train a run's model on its data.

    Args:
        config: The run.
        data: Its data.
        device: Where to train.
        ends: Closes afterwards what is entered here.

    Returns:
        Name -> a function that takes one step.

    Raises:
        UsageError: If there is nothing to compare such a run with.
    """
    name = config.entry("model")
    if name == "bert":
        trainers = {text: TrainerInTurns(config, data, device, **options) for text, options in _SETTINGS.items()}
        return {f"transformers' Trainer, {text}": ends.enter_context(trainer).step for text, trainer in trainers.items()}
    if name == "vit":
        loops = {f"timm's loop, {text}": timm_loop(config, data, device, **options) for text, options in _SETTINGS.items()}
    elif isinstance(data.spec, Images):
        loops = {"ordinary loop": ordinary_loop(config, data, device)}
    else:
        raise UsageError(f"model '{name}': there is no other loop to compare with: take bert, or a model of images")
    return {text: loop.__next__ for text, loop in loops.items()}
