"""Overrides -> a composed configuration as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from idinit.errors import UsageError

from ..errors import first_line
from .errors import check_choices, missing_budget, usage_error
from .hydra_compose import compose_with_hydra


def compose(overrides: Sequence[str]) -> DictConfig:
    """Composes ``configs/train.yaml`` with Hydra overrides.

    Raises:
        UsageError: If an override names something that is not there.
    """
    check_choices(overrides)
    try:
        return compose_with_hydra(overrides)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise usage_error(error, overrides) from None


def resolve(config: DictConfig) -> dict[str, Any]:
    """A composed configuration as plain values, its interpolations filled in.

    Raises:
        UsageError: If one leads nowhere, as for a budget that the experiment does not have.
    """
    try:
        values = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise missing_budget(config) or UsageError(f"config: {first_line(error)}") from None
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}
