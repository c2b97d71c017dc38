"""A composed configuration -> a checked run, before any data is read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, get_args

from omegaconf import DictConfig
from pydantic import ValidationError
from torch import nn

from idinit.errors import UsageError
from idinit.registry import Entry, explain

from ..data import DATASETS
from ..data.base import DatasetInfo
from ..models import MODELS, ModelInfo
from ..optim.optimizers import OPTIMIZERS
from .compose import resolve
from .groups import GROUPS, check_groups, entry_name
from .launcher import LauncherConfig
from .schema import RunConfig, checked


def check(config: DictConfig | Mapping[str, Any]) -> RunConfig:
    """Checks a composed configuration.

    Raises:
        UsageError: Naming each unknown key, unknown name and value out of range.
    """
    values = resolve(config) if isinstance(config, DictConfig) else config
    settings: dict[str, Any] = {str(k): v for k, v in values.items() if k not in ("grid", "budgets", "launcher")}
    experiment = settings.get("experiment")
    settings["experiment"] = experiment["name"] if isinstance(experiment, dict) else experiment
    settings["arm"] = settings.get("arm") or (settings.get("init") or {}).get("name")
    settings |= check_groups(settings)
    launcher = checked(LauncherConfig, values.get("launcher", {}), "launcher")
    settings["processes"] = _processes(settings, int(os.environ.get("WORLD_SIZE", launcher.world_size)))
    optim = dict(settings["optim"])
    OPTIMIZERS[optim.pop("name")].build(nn.Linear(1, 1, device="meta"), **optim)  # refuses options that do not go together
    model, data = (GROUPS[group][entry_name(settings[group])] for group in ("model", "data"))
    if not is_compatible(data, model):
        fitting = ", ".join(name for name in DATASETS if is_compatible(DATASETS[name], model))
        raise UsageError(f"model '{model.name}' cannot take data '{data.name}': data that fits it: {fitting}")
    length, positions = settings["data"].get("length"), settings["model"].get("positions")
    if length and positions and length > positions:  # models say so too, but data are read before one is built
        raise UsageError(f"texts of data.length={length} tokens are longer than model.positions={positions}: change one")
    try:
        run = RunConfig(**settings)
    except ValidationError as error:
        raise UsageError(f"config: {explain(error, '', RunConfig.model_fields)}") from None
    run.require_whole_parts()
    if run.impl.cuda_graphs and not run.train.compile:
        raise UsageError("impl.cuda_graphs=true records a compiled network: set train.compile=true too")
    return run


def _processes(settings: Mapping[str, Any], processes: int) -> int:
    """The number of processes that torchrun started or is to start, where the outcome depends on it, else 1.

    It does if BatchNorm sees each process's share of a batch alone, and if each process draws a mask for its share (dropout,
    stochastic depth), as a network from elsewhere may. Gradients are averaged, which leaves the outcome alone.
    """
    model = settings["model"]
    foreign = MODELS[entry_name(model)].info.foreign
    draws_masks = foreign or any(value for option, value in model.items() if option.startswith("drop"))
    train = settings.get("train")
    local_batchnorm = isinstance(train, Mapping) and train.get("sync_batchnorm") is False
    return processes if draws_masks or local_batchnorm else 1


def is_compatible(data: Entry[Any, DatasetInfo], model: Entry[Any, ModelInfo]) -> bool:
    """Whether a model may take some data; of data of one's own this is known when they are read."""
    given, taken = (get_args(kinds) or (kinds,) for kinds in (data.info.gives, model.info.takes))
    return not set(given).isdisjoint(taken)
