"""Networks by name, one small file each.

To add one, add a file here with a function registered in `MODELS`. It takes the spec of the data; its keyword-only
parameters are its options. Fact given when registering: ``takes``, the class of spec it is made for. A network whose
weights are partly pretrained names these parameters in an attribute ``pretrained``: they are not initialized again.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules

from torch import nn

from idinit.registry import Registry

MODELS: Registry[Callable[..., nn.Module]] = Registry("model")

for _module in iter_modules(__path__):
    import_module(f".{_module.name}", __name__)
