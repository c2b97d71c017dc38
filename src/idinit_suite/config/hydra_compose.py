"""``configs/train.yaml`` with overrides -> one composed configuration, by Hydra."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .groups import CONFIG_DIR, list_groups, register_choices


def compose_with_hydra(overrides: Sequence[str]) -> DictConfig:
    """Composes a configuration; an error is Hydra's or OmegaConf's.

    Values are set as Hydra does, on a copy of what it makes of the choices: a grid of runs has few choices and many values.
    """
    values = {text: override for text in overrides if (override := _value(text)) is not None}
    config = _compose_whole(tuple(text for text in overrides if text not in values)).copy()
    try:
        for text in overrides:
            if text in values:
                OmegaConf.update(config, values[text].key_or_group, values[text].value(), merge=True)
    except OmegaConfBaseException:
        return _compose_whole(tuple(overrides)).copy()  # which says what is wrong
    return config


@functools.lru_cache(maxsize=4096)
def _value(text: str) -> Override | None:
    """An override that gives a key of the composed configuration one value; None for any other."""
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException:
        return None
    key = override.key_or_group
    changes = override.type == OverrideType.CHANGE and override.package is None and not override.is_sweep_override()
    return override if changes and "/" not in key and not key.startswith("hydra") and key not in list_groups() else None


@functools.lru_cache(maxsize=1024)  # a tenth of a second each
def _compose_whole(overrides: tuple[str, ...]) -> DictConfig:
    register_choices()
    GlobalHydra.instance().clear()  # a failed ``hydra.main`` leaves its own behind
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return hydra_compose("train", overrides=list(overrides))
