"""Networks by name. A model takes the shape of its input and the number of classes; its options are its keyword arguments."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from torch import nn

from ..registry import Registry

MODELS: Registry[Callable[..., nn.Module]] = Registry("model")

for _module in ("allconv", "mlp", "resnet"):
    import_module(f".{_module}", __name__)
