"""The recipe of a run: what its config says of the training, as ``{"optim.lr": 0.1, ...}``, and how recipes differ."""

from __future__ import annotations

import functools
import json
from typing import Any

from ..config import completed

# What runs of one variant may differ in: they are the same training from another seed, or in another place.
_NOT_RECIPE = ("experiment", "arm", "phase", "seed", "budget", "impl")
_SAME = ("train.compile",)  # another order of floating-point sums, like another processor


@functools.cache
def recipe_of(config: str) -> str:
    """All that a run's config says of its training, as sorted JSON; options newer than the run have their defaults."""
    stored = json.loads(config)
    kept = {key: value for key, value in (completed(stored) or stored).items() if key not in _NOT_RECIPE}
    recipe = {key: value for key, value in flatten(kept).items() if key not in _SAME}
    return json.dumps(recipe, sort_keys=True)


def searched_with(recipe: dict[str, Any]) -> str:
    """The part of a recipe that search runs share with the runs that use their learning rate: all but that and the length."""
    kept = {key: value for key, value in recipe.items() if key not in ("optim.lr", "train.epochs")}
    return json.dumps(kept, sort_keys=True)


def setting(recipe: dict[str, Any]) -> str:
    """The `settings_of` a recipe as sorted JSON."""
    return json.dumps(settings_of(recipe), sort_keys=True)


def network(recipe: dict[str, Any]) -> str:
    """The part of a recipe that describes the network, as sorted JSON."""
    return json.dumps({key: value for key, value in recipe.items() if key.split(".")[0] == "model"}, sort_keys=True)


def settings_of(recipe: dict[str, Any]) -> dict[str, Any]:
    """The part of a recipe that variants can share: all but the network and its initialization, word vectors included."""
    return {key: value for key, value in recipe.items() if key.split(".")[0] not in ("model", "init") and key != "data.vectors"}


def changes_of(reference: dict[str, Any], recipe: dict[str, Any]) -> str:
    """What is different in a recipe, as ``optim.lr=0.1, optim.momentum=0.5``; empty if nothing is."""
    keys = sorted(key for key in reference.keys() | recipe.keys() if reference.get(key) != recipe.get(key))
    return ", ".join(f"{key}={recipe.get(key)}" for key in keys)


def flatten(value: Any, path: str = "") -> dict[str, Any]:
    """Nested settings as ``{"optim.lr": 0.1, ...}``."""
    if not isinstance(value, dict):
        return {path: value}
    return {k: v for key, item in value.items() for k, v in flatten(item, f"{path}.{key}" if path else key).items()}
