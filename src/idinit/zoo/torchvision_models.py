"""Networks of torchvision."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torchvision
from torch import nn

from ..errors import UsageError, nearest
from ..graph.probe import Inputs
from . import BATCH


def build(name: str, shape: Sequence[int] | None = None) -> tuple[nn.Module, Inputs]:
    """Builds a network of torchvision without pretrained weights.

    Args:
        name: What ``torchvision.models.get_model`` calls it.
        shape: Shape of one input; the usual one if None.

    Raises:
        UsageError: If torchvision has no such network.
    """
    names = torchvision.models.list_models()
    if name not in names:
        raise UsageError(
            f"torchvision has no network '{name}': {nearest(name, names) or 'torchvision.models.list_models() names them'}"
        )
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}  # else they warn that it is slow
    model = torchvision.models.get_model(name, weights=None, **options)
    usual = (3, 299, 299) if name == "inception_v3" else (3, 224, 224)
    return model, (torch.randn(BATCH, *(shape or usual)),)
