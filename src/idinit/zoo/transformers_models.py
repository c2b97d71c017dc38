"""Networks of transformers, by model type, from small configurations built here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

import transformers
from torch import nn

from ..errors import UsageError, did_you_mean, kind_and_reason, nearest
from ..graph.own_inputs import transformers_inputs
from ..graph.probe import Inputs

# The values of a small configuration, by the names that configurations use.
_SMALL = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "embedding_size"), 64),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers"), 2),
    **dict.fromkeys(("num_encoder_layers", "num_decoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("head_dim", "d_kv", "d_head"), 16),
    **dict.fromkeys(("intermediate_size", "d_ff", "d_inner", "n_inner", "ffn_dim", "hidden_dim"), 128),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 128),
    **{"num_key_value_heads": 2, "num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2},
    **{"vocab_size": 256, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 0},
    "image_size": 64,
}
# Where names or values of these model types go beyond that.
_SPECIAL: dict[str, dict[str, Any]] = {
    "codegen": {"rotary_dim": 8},
    "gptj": {"rotary_dim": 8},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "swin": {"image_size": 224},  # smaller than its windows it fails
    "funnel": {"block_sizes": [1, 1, 1], "num_decoder_layers": 1},
}


def build(model_type: str, shape: Sequence[int] | None = None) -> tuple[nn.Module, Inputs]:
    """Builds a small network of transformers with the head it is best known by, e.g. masked language modelling for BERT.

    Args:
        model_type: What ``transformers.AutoConfig.for_model`` calls it.
        shape: Shape of one of its main inputs; None for its usual one.

    Raises:
        UsageError: If transformers has no such type, or it cannot be built as simply as this.
    """
    if model_type not in transformers.CONFIG_MAPPING:
        known = nearest(model_type, transformers.CONFIG_MAPPING.keys())
        raise UsageError(f"transformers has no model type '{model_type}': {known or 'transformers.CONFIG_MAPPING names them'}")
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        config = _small(transformers.CONFIG_MAPPING[model_type], _SPECIAL.get(model_type, {}))
        model = _class(config)(config)
    except Exception as error:  # configurations check themselves, each in its own way
        raise UsageError(
            f"a small '{model_type}' cannot be built ({kind_and_reason(error)}): give a factory, FILE.py:FACTORY"
        ) from error
    finally:
        transformers.logging.set_verbosity(verbosity)
    return model, transformers_inputs(model, shape)


def classifier(
    name: str,
    kind: Literal["images", "texts"],
    num_classes: int,
    sizes: dict[str, Any],
    options: dict[str, Any],
    length: int = 0,
) -> nn.Module:
    """Builds a classifier of transformers with random weights.

    Args:
        name: A model type (``bert``), or where a configuration is: a folder, or OWNER/NAME of the hub.
        kind: What it classifies.
        num_classes: Number of classes.
        sizes: Values of the configuration that follow from the data; of no effect where it does not have them.
        options: Values of the configuration that are other than usual.
        length: Tokens of the longest text; it gets more positions if it has less.

    Raises:
        UsageError: If there is no such network or option, or it classifies nothing of this kind.
    """
    auto: dict[str, Any] = {
        "images": transformers.AutoModelForImageClassification,
        "texts": transformers.AutoModelForSequenceClassification,
    }
    try:
        if name in transformers.CONFIG_MAPPING:
            config = transformers.AutoConfig.for_model(name)
        else:
            config = transformers.AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        known = nearest(name, transformers.CONFIG_MAPPING.keys())
        raise UsageError(
            f"transformers has no model type '{name}', and no configuration of this name can be read: {known} "
            "Give a model type, a folder or OWNER/NAME of the hub"
        ) from error
    if type(config) not in auto[kind]._model_mapping:
        raise UsageError(f"transformers' '{name}' has no classifier of {kind}: take another")
    if unknown := [key for key in options if not hasattr(config, key)]:
        raise UsageError(
            f"the configuration of transformers' '{name}' has no '{unknown[0]}': {did_you_mean(unknown[0], config.to_dict())}"
        )
    positions = {"max_position_embeddings": max(config.max_position_embeddings, length + 2)} if _has_positions(config) else {}
    try:
        for key, value in {**positions, **sizes, "num_labels": num_classes, **options}.items():
            setattr(config, key, value)
        return cast(nn.Module, auto[kind].from_config(config))
    except Exception as error:  # configurations and networks check themselves, each in its own way
        reason = kind_and_reason(error)
        raise UsageError(
            f"transformers' '{name}' cannot be built for such {kind} ({reason}): set further options of its configuration"
        ) from error


def _has_positions(config: Any) -> bool:
    return isinstance(getattr(config, "max_position_embeddings", None), int)


def _small(cls: type, special: dict[str, Any]) -> Any:
    usual = cls()
    options: dict[str, Any] = {}
    for name, value in _SMALL.items():
        old = getattr(usual, name, None)
        is_unset_token = name.endswith("_id") and old is None and hasattr(usual, name)
        is_alias = name in usual.attribute_map or isinstance(getattr(cls, name, None), property)
        if (isinstance(old, int) or is_unset_token) and not is_alias:
            options[name] = value
    if "num_encoder_layers" in options:
        options.pop("num_hidden_layers", None)  # the sum of two others
    for name in getattr(usual, "sub_configs", {}):
        if (part := getattr(usual, name, None)) is not None:
            options[name] = _small(type(part), {}).to_dict()
    return cls(**options | special)


def _class(config: Any) -> type[nn.Module]:
    """The network's class, with a head where there is one."""
    classes = (
        *(transformers.AutoModelForSpeechSeq2Seq, transformers.AutoModelForSeq2SeqLM, transformers.AutoModelForMaskedLM),
        *(transformers.AutoModelForCausalLM, transformers.AutoModelForImageClassification, transformers.AutoModelForCTC),
        *(transformers.AutoModelForAudioClassification, transformers.AutoModel),
    )
    found = next(cls._model_mapping[type(config)] for cls in classes if type(config) in cls._model_mapping)
    return cast(type[nn.Module], found[0] if isinstance(found, (tuple, list)) else found)
