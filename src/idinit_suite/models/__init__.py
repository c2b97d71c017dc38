"""Networks by name, one small file each.

To add one, add a file here with a function registered in `MODELS`. It takes the spec of the data; its keyword-only
parameters are its options. A network whose weights are partly pretrained names these parameters in an attribute
``pretrained``: they are not initialized again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from types import UnionType
from typing import Any

import torch
from torch import Tensor, nn

from idinit.errors import UsageError, kind_and_reason
from idinit.registry import Registry

from ..data.spec import MaskedTokens, Spec


@dataclass(frozen=True)
class ModelInfo:
    """Description of a model.

    Attributes:
        takes: The class of spec it is made for, or a union of several.
        foreign: Whether what it builds is the user's choice, and must be tried before it is trained.
    """

    takes: type | UnionType
    foreign: bool = False


MODELS: Registry[Callable[..., nn.Module], ModelInfo] = Registry("model", largest=65_536)  # of more, none fits into memory


def build_model(name: str, spec: Spec, inputs: tuple[Tensor, ...], options: Mapping[str, Any]) -> nn.Module:
    """Builds a network for some data.

    Args:
        name: Its name in the registry.
        spec: Shapes and sizes of the data.
        inputs: Some of them, as the network will be called.
        options: Options of the network.

    Raises:
        UsageError: If it cannot be built for them, or does not map them to logits.
    """
    entry = MODELS[name]
    if not isinstance(spec, entry.info.takes):
        raise UsageError(f"model '{name}' cannot take these data, which are {type(spec).__name__.lower()}: take another model")
    model = entry.build(spec, **options)
    if entry.info.foreign:
        _require_classifier(name, model, spec, inputs)
    return model


def _require_classifier(name: str, model: nn.Module, spec: Spec, inputs: tuple[Tensor, ...]) -> None:
    """Makes sure that a network of the user's choice can learn, and answers with a logit for each class."""
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UsageError(f"model '{name}' has nothing to train: set requires_grad of some of its parameters to true")
    model.eval()
    try:
        with torch.no_grad():
            answer = model(*inputs)
    except Exception as error:  # networks check their inputs themselves, each in its own way
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in inputs)
        raise UsageError(f"model '{name}' fails on inputs of shape {shapes}: {kind_and_reason(error)}") from error
    wanted = (inputs[1].numel(), spec.vocabulary) if isinstance(spec, MaskedTokens) else (len(inputs[0]), spec.num_classes)
    if not isinstance(answer, Tensor) or tuple(answer.shape) != wanted:
        got = f"shape {tuple(answer.shape)}" if isinstance(answer, Tensor) else f"a {type(answer).__name__}"
        raise UsageError(f"model '{name}' answers with {got}, and training needs one tensor of logits of shape {wanted}")
    model.train()


for _module in iter_modules(__path__):
    import_module(f".{_module.name}", __name__)
