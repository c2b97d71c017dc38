"""The configuration of runs and experiments: schema, composition and hashes."""

from .archived import completed, hash_of_stored
from .check import check
from .command_line import hydra_words, key_of
from .compose import compose, resolve
from .errors import check_choices, parse_overrides, usage_error
from .groups import CONFIG_DIR, GROUPS, register_choices
from .launcher import LauncherConfig
from .schema import (
    BUDGETS,
    ImplConfig,
    PathsConfig,
    RunConfig,
    Seed,
    TrainConfig,
    WandbConfig,
    checked,
    hash_of,
)

__all__ = [
    "BUDGETS",
    "CONFIG_DIR",
    "GROUPS",
    "ImplConfig",
    "LauncherConfig",
    "PathsConfig",
    "RunConfig",
    "Seed",
    "TrainConfig",
    "WandbConfig",
    "check",
    "check_choices",
    "checked",
    "completed",
    "compose",
    "hash_of",
    "hash_of_stored",
    "hydra_words",
    "key_of",
    "parse_overrides",
    "register_choices",
    "resolve",
    "usage_error",
]
