"""Networks of timm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import timm
import torch
from torch import nn

from ..errors import UsageError, kind_and_reason, nearest
from ..graph.probe import Inputs
from . import BATCH


def check_name(name: str) -> str:
    """Returns the name of a network of timm.

    Raises:
        UsageError: If timm has none of this name.
    """
    if not timm.is_model(name):
        known = nearest(name, timm.list_models()) or "timm.list_models() names them"
        raise UsageError(f"timm has no network '{name}': {known}")
    return name


def build(name: str, shape: Sequence[int] | None = None, **options: Any) -> tuple[nn.Module, Inputs]:
    """Builds a network of timm without pretrained weights.

    Args:
        name: What ``timm.create_model`` calls it.
        shape: (channels, height, width); None for the size it was made for.
        **options: Options of the network, e.g. ``depth=2``.

    Raises:
        UsageError: If timm has no such network, or it cannot have this shape.
    """
    check_name(name)
    if "pretrained" in options:
        raise UsageError("networks are built without pretrained weights: leave out the option 'pretrained'")
    config = timm.get_pretrained_cfg(name)
    usual = config.input_size if config else (3, 224, 224)
    channels, *size = shape or usual
    options = options | ({"in_chans": channels} if channels != usual[0] else {})
    is_resized = config is not None and config.fixed_input_size and tuple(size) != usual[1:]
    sized = options | ({"img_size": tuple(size)} if is_resized else {})
    try:
        model = _create(name, sized, options)
    except Exception as error:  # networks check their options themselves, each in its own way
        raise UsageError(f"timm's '{name}' cannot be built for inputs of shape {shape}: {kind_and_reason(error)}") from error
    return model, (torch.randn(BATCH, channels, *size),)


def _create(name: str, sized: dict[str, Any], options: dict[str, Any]) -> nn.Module:
    try:
        return timm.create_model(name, pretrained=False, **sized)
    except TypeError:  # some that were made for one size take others as they are
        return timm.create_model(name, pretrained=False, **options)
