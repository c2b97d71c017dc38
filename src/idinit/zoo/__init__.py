"""Networks of other libraries, built without pretrained weights and with inputs to run them on.

A name says where a network is from: ``timm:resnet50``, ``torchvision:vgg11``, ``hf:bert`` (a small configuration of that
model type), ``file.py:factory``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module

from torch import nn

from ..errors import UsageError, did_you_mean, needs_extra
from ..graph.probe import Inputs, own_randomness

Build = Callable[[str, Sequence[int] | None], tuple[nn.Module, Inputs]]
_SOURCES = {"timm": "timm_models", "torchvision": "torchvision_models", "hf": "transformers_models"}
BATCH = 2


def load(name: str, shape: Sequence[int] | None = None) -> tuple[nn.Module, Inputs]:
    """Builds a network and example inputs for it; the global random state is left as it was.

    Args:
        name: Where the network is from, and what it is called there.
        shape: Shape of one input, without the batch dimension, e.g. (3, 224, 224), or (16,) for tokens; None for the
            network's usual one.

    Returns:
        The network, and a batch of two random inputs.

    Raises:
        UsageError: If there is no such network, it cannot be built for this shape, or its library is not installed.
    """
    source, _, rest = name.partition(":")
    if source.endswith(".py"):
        source, module = name, "python_file"
    elif source in _SOURCES and rest:
        module = _SOURCES[source]
    else:
        raise UsageError(f"'{name}' does not say where the network is from: {did_you_mean(name, _FORMS)}")
    with needs_extra("zoo", f"'{name}'"):
        build: Build = import_module(f".{module}", __name__).build
    with own_randomness(()):
        return build(rest if module != "python_file" else name, shape)


_FORMS = ("timm:NAME", "torchvision:NAME", "hf:MODEL_TYPE", "FILE.py:FACTORY")
