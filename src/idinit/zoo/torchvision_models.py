"""Networks of torchvision."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
import torchvision
from torch import nn

from ..errors import UsageError, kind_and_reason, nearest
from ..graph.probe import Inputs
from . import BATCH


def check_name(name: str) -> str:
    """Returns the name of a network of torchvision.

    Raises:
        UsageError: If torchvision has none of this name.
    """
    names = torchvision.models.list_models()
    if name not in names:
        known = nearest(name, names) or "torchvision.models.list_models() names them"
        raise UsageError(f"torchvision has no network '{name}': {known}")
    return name


def build(name: str, shape: Sequence[int] | None = None, **options: Any) -> tuple[nn.Module, Inputs]:
    """Builds a network of torchvision without pretrained weights.

    Args:
        name: What ``torchvision.models.get_model`` calls it.
        shape: Shape of one input; the usual one if None.
        **options: Options of the network, e.g. ``num_classes=10``.

    Raises:
        UsageError: If torchvision has no such network, or it cannot have this shape or these options.
    """
    check_name(name)
    if "weights_backbone" in inspect.signature(torchvision.models.get_model_builder(name)).parameters:
        options = {"weights_backbone": None, **options}  # else that part is downloaded
    if name in ("googlenet", "inception_v3"):
        options = {"init_weights": False, **options}  # else they warn that it is slow
        if "num_classes" in options:
            options["aux_logits"] = False  # one answer, also in training
    usual = (3, 299, 299) if name == "inception_v3" else (3, 224, 224)
    wanted = tuple(shape or usual)
    if name.startswith("vit_") and wanted != usual:
        options["image_size"] = wanted[-1]
    if len(wanted) == 3 and wanted[0] != 3:
        raise UsageError(f"torchvision's networks take 3 channels, and the images have {wanted[0]}: timm's take any number")
    try:
        model = torchvision.models.get_model(name, weights=None, **options)
    except Exception as error:  # networks check their options themselves, each in its own way
        reason = kind_and_reason(error)
        raise UsageError(f"torchvision's '{name}' cannot be built for inputs of shape {wanted}: {reason}") from error
    return model, (torch.randn(BATCH, *wanted),)
