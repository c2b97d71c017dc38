"""Configurations of archived runs in the words of today."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from idinit.errors import UsageError

from .groups import check_groups
from .schema import TrainConfig, hash_of


def completed(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Upgrades an archived configuration: options that were added since then get their defaults.

    Args:
        config: The content of a run's ``config.yaml``, paths not needed.

    Returns:
        The content as plain values, or None where an entry or an option is gone, so that no run of today can be the same.
    """
    try:
        train = TrainConfig(**config.get("train", {})).model_dump(mode="json")
        return to_jsonable_python({**config, "train": train, **check_groups(config)})
    except (UsageError, ValidationError):
        return None


def hash_of_stored(config: Mapping[str, Any]) -> str | None:
    """The hash that an archived run has today; None where no run of today can be the same. See `completed`."""
    settings = completed(config)
    return None if settings is None else hash_of(settings)
