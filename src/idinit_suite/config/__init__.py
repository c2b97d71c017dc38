"""The configuration of runs and experiments: schema, composition and hashes."""

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
    hash_of_stored,
    literal_paths,
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
    "hash_of_stored",
    "literal_paths",
    "register_choices",
    "resolve",
    "usage_error",
]
