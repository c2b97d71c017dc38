"""Example inputs of networks that describe their inputs: those of timm, torchvision and transformers."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from ..errors import UsageError
from .probe import Inputs, require_model

_BATCH, _TOKENS = 2, 16
_SAMPLES = 6400  # of sound: 0.4 seconds at 16 kHz
_MOST_CHANNELS = 16  # of pictures


def inputs_of(model: nn.Module, given: Inputs | None) -> Inputs:
    """The inputs that a caller gave, or else some that the model's own attributes describe.

    Raises:
        UsageError: If the model is not a module, or no inputs were given and it describes none.
    """
    require_model(model)
    if given is not None:
        return given
    for described in (_timm, _transformers, _torchvision):
        if (inputs := described(model)) is not None:
            return inputs
    raise UsageError(
        f"the parts of the network are found from a forward pass, and {type(model).__name__} does not describe its inputs: "
        "give example_inputs=(x,)"
    )


def transformers_inputs(model: Any, shape: Sequence[int] | None = None) -> dict[str, Tensor]:
    """Inputs of a network of transformers, by its configuration: of images, sound, or texts, and of texts with images.

    Args:
        model: The network, with ``config`` and ``main_input_name``.
        shape: Shape of one of its main inputs; None for its usual one.

    Raises:
        UsageError: If its main input is another than ``input_ids``, ``pixel_values``, ``input_values``, ``input_features``.
    """
    config, main = model.config, model.main_input_name
    vision = getattr(config, "vision_config", None) or getattr(config, "encoder", config)
    usual: dict[str, tuple[int, ...]] = {
        "input_ids": (_TOKENS,),
        "pixel_values": (getattr(vision, "num_channels", 3), *_sides(getattr(vision, "image_size", None) or 224)),
        "input_values": (_SAMPLES,),
    }
    if main == "input_features":
        usual[main] = (config.num_mel_bins, 2 * config.max_source_positions)
    if main not in usual:
        raise UsageError(
            f"no example of the input '{main}' of {type(model).__name__} is known: pass example_inputs={{'{main}': ...}}"
        )
    wanted = tuple(shape or usual[main])
    inputs = {main: _tokens(config, wanted) if main == "input_ids" else _normal(*wanted)}
    taken = inspect.signature(model.forward).parameters
    if config.is_encoder_decoder and "decoder_input_ids" in taken:
        inputs["decoder_input_ids"] = _tokens(config, (_TOKENS // 2,))
    if main == "input_ids" and vision is not config and "pixel_values" in taken:
        inputs["pixel_values"] = _normal(*usual["pixel_values"])
    return inputs


def _timm(model: nn.Module) -> Inputs | None:
    """From ``pretrained_cfg``, but of the size and the channels that this model was made for."""
    config = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None)
    size = config.get("input_size") if isinstance(config, Mapping) else None
    if size is None:
        return None
    sizes = (getattr(module, "img_size", None) for module in model.modules())
    return (_normal(_channels(model) or size[0], *_sides(next((s for s in sizes if s is not None), size[1:]))),)


def _transformers(model: nn.Module) -> Inputs | None:
    is_theirs = hasattr(getattr(model, "config", None), "model_type") and hasattr(model, "main_input_name")
    return transformers_inputs(model) if is_theirs else None


def _torchvision(model: nn.Module) -> Inputs | None:
    package, _, kind = type(model).__module__.partition("torchvision.models.")
    if package or not kind or kind.startswith(("detection", "optical_flow", "video")):
        return None
    side = getattr(model, "image_size", 299 if kind == "inception" else 224)
    return (_normal(_channels(model) or 3, side, side),)


def _channels(model: nn.Module) -> int | None:
    """Channels that the first convolution reads, unless so many that these are the pixels of patches."""
    first = next((module.in_channels for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    return None if first is None or first > _MOST_CHANNELS else first


def _sides(size: int | Sequence[int]) -> tuple[int, ...]:
    return (size, size) if isinstance(size, int) else tuple(size)


def _tokens(config: Any, shape: tuple[int, ...]) -> Tensor:
    """Tokens other than the first three, which are special in many vocabularies."""
    size = config.get_text_config().vocab_size
    return torch.randint(min(3, size - 1), size, (_BATCH, *shape), generator=Generator().manual_seed(0))


def _normal(*shape: int) -> Tensor:
    return torch.randn(_BATCH, *shape, generator=Generator().manual_seed(0))
