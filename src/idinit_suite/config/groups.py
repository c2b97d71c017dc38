"""The groups of a configuration whose choices are entries of the registries, and the presets beside them.

Entries (models, data sets, initializers, optimizers, schedules) are choices of the group of the same name, with their
defaults, without a file; a file in ``configs/`` is a preset.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from idinit.initializers import INITIALIZERS
from idinit.registry import Entry, Registry

from ..data import DATASETS
from ..models import MODELS
from ..optim.optimizers import OPTIMIZERS
from ..optim.schedules import SCHEDULES

CONFIG_DIR = Path(__file__).parents[1] / "configs"  # in the repository a link to configs/ at its root
GROUPS: dict[str, Registry[Any, Any]] = {
    "model": MODELS,
    "data": DATASETS,
    "init": INITIALIZERS,
    "optim": OPTIMIZERS,
    "schedule": SCHEDULES,
}


def name_key(section: Mapping[str, Any]) -> str:
    """The key under which a section of a configuration holds what the registry calls its entry.

    This is ``name``, but for networks of other libraries, of which ``name`` is an option.
    """
    return "library" if "library" in section else "name"


def entry_name(section: Mapping[str, Any]) -> str:
    """The registry's name for the entry of a section, such as ``{"name": "resnet", "depth": 20}``."""
    return str(section.get(name_key(section)))


def section_of(entry: Entry[Any, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The section of a configuration for an entry with some options."""
    return {"library" if "name" in entry.options.model_fields else "name": entry.name, **options}


def check_groups(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of all groups with each option checked; those that are not given have their defaults.

    Raises:
        UsageError: If a name or an option is unknown, or a value is out of range.
    """
    groups = {}
    for group, registry in GROUPS.items():
        section = dict(settings.get(group) or {})
        name = entry_name(section)
        options = {key: value for key, value in section.items() if key != name_key(section) and value != "???"}
        groups[group] = section_of(registry[name], registry.check(name, options, group))
    return groups


def list_groups() -> set[str]:
    """All groups of ``configs/``, with those that have no folder."""
    return {*GROUPS, *(path.name for path in CONFIG_DIR.iterdir() if path.is_dir())}


def register_choices() -> None:
    """Makes each registry entry without a file a choice of its Hydra group, and registers the resolvers."""
    for group, registry in GROUPS.items():
        for name in registry:
            if _registered.get((group, name)) is not registry[name]:
                _register_choice(group, registry[name])
                _registered[group, name] = registry[name]
    if not OmegaConf.has_resolver("default_budget"):
        OmegaConf.register_new_resolver("expanduser", os.path.expanduser)
        OmegaConf.register_new_resolver("default_budget", lambda: "paper" if torch.cuda.is_available() else "cpu")


_registered: dict[tuple[str, str], Entry[Any, Any]] = {}  # what Hydra knows already: telling it takes milliseconds an entry


def _register_choice(group: str, entry: Entry[Any, Any]) -> None:
    if (CONFIG_DIR / group / f"{entry.name}.yaml").exists():
        return
    defaults = {k: "???" if f.is_required() else f.get_default() for k, f in entry.options.model_fields.items()}
    node = OmegaConf.create(section_of(entry, json.loads(json.dumps(defaults, default=str))))
    ConfigStore.instance().store(group=group, name=entry.name, node=node)
