"""Example inputs of networks that describe their inputs: those of timm, torchvision and transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor, nn

from ..errors import UsageError
from .probe import Inputs

_BATCH = 2


def inputs_of(model: nn.Module, given: Inputs | None) -> Inputs:
    """The inputs that a caller gave, or else some that the model's own attributes describe.

    Raises:
        UsageError: If none were given and the model describes none.
    """
    if given is not None:
        return given
    for described in (_timm, _transformers, _torchvision):
        if (inputs := described(model)) is not None:
            return inputs
    raise UsageError(
        f"the parts of the network are found from a forward pass, and {type(model).__name__} does not describe its inputs: "
        "give example_inputs=(x,)"
    )


def _timm(model: nn.Module) -> Inputs | None:
    """From ``pretrained_cfg``, but of the size and the channels that this model was made for."""
    config = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None)
    size = config.get("input_size") if isinstance(config, Mapping) else None
    if size is None:
        return None
    sides = getattr(getattr(model, "patch_embed", None), "img_size", None) or size[1:]
    return (_images(_channels(model) or size[0], *sides),)


def _transformers(model: nn.Module) -> Inputs | None:
    config, name = getattr(model, "config", None), getattr(model, "main_input_name", None)
    if not isinstance(name, str) or not hasattr(config, "model_type"):
        return None
    if name == "pixel_values":
        size = getattr(config, "image_size", None) or 224
        sides = (size, size) if isinstance(size, int) else tuple(size)
        return {name: _images(getattr(config, "num_channels", 3), *sides)}
    dummies = getattr(model, "dummy_inputs", None) if name == "input_ids" else None
    return dict(dummies) if isinstance(dummies, Mapping) else None


def _torchvision(model: nn.Module) -> Inputs | None:
    package, _, kind = type(model).__module__.partition("torchvision.models.")
    if package or not kind or kind.startswith(("detection", "optical_flow", "video")):
        return None
    side = getattr(model, "image_size", 299 if kind == "inception" else 224)
    return (_images(_channels(model) or 3, side, side),)


def _channels(model: nn.Module) -> int | None:
    return next((module.in_channels for module in model.modules() if isinstance(module, nn.Conv2d)), None)


def _images(*shape: Any) -> Tensor:
    return torch.randn(_BATCH, *shape, generator=Generator().manual_seed(0))
