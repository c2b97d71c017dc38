"""The configuration of runs and experiments: schema, composition and hashes."""

from .command_line import hydra_words
from .schema import (
    CONFIG_DIR,
    GROUPS,
    ImplConfig,
    PathsConfig,
    RunConfig,
    TrainConfig,
    WandbConfig,
    check,
    check_choices,
    completed,
    compose,
    hash_of,
    hash_of_stored,
    register_choices,
    resolve,
    usage_error,
)

__all__ = [
    "CONFIG_DIR",
    "GROUPS",
    "ImplConfig",
    "PathsConfig",
    "RunConfig",
    "TrainConfig",
    "WandbConfig",
    "check",
    "check_choices",
    "completed",
    "compose",
    "hash_of",
    "hash_of_stored",
    "hydra_words",
    "register_choices",
    "resolve",
    "usage_error",
]
