"""The checked options of a study's run, its hash and its folder. Composed by Hydra like every experiment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import ConfigDict, Field, ValidationError
from pydantic_core import to_jsonable_python

from idinit.errors import UsageError, did_you_mean
from idinit.options import Options
from idinit.registry import explain

from ..config import ImplConfig, PathsConfig, compose, parse_overrides, resolve
from ..config.experiment import ExperimentInfo, list_experiments
from ..config.schema import Budget
from .base import STUDIES, Cell, Setting

_OPEN = ("experiment", "study", "budget", "impl", "paths", "wandb")  # what the command line may set of a study
_LISTS = {"seed": "seeds", "init": "starts"}  # Make's words for it -> a study's


class StudyConfig(Options):
    """One run of a study: everything its ``config.yaml`` says."""

    model_config = ConfigDict(frozen=True)

    experiment: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    budget: Budget
    study: dict[str, Any]
    impl: ImplConfig
    paths: PathsConfig

    @property
    def hash(self) -> str:
        """Eight hexadecimal digits that name the run: of the study and all its options."""
        return hash_of_study(self.study)

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return f"{self.study['name']}-{self.hash}"

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.paths.runs / self.experiment / self.name

    def cells(self) -> Iterator[Cell]:
        """The parts of the study, in the order in which they are computed."""
        options = {key: value for key, value in self.study.items() if key != "name"}
        setting = Setting(self.paths.data, self.impl.torch_device())
        yield from STUDIES[self.study["name"]].build(setting, **options)

    def to_yaml(self) -> str:
        """The configuration as text, in the words of ``configs/``."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def hash_of_study(study: Mapping[str, Any]) -> str:
    """The hash of a study, given by its name and any of its options; the others have their defaults."""
    content = json.dumps(to_jsonable_python(checked_study(study)), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:8]


def checked_study(study: Mapping[str, Any]) -> dict[str, Any]:
    """A study with all its options.

    Raises:
        UsageError: If the name or an option is unknown, a value is out of range, or a list is empty.
    """
    options = dict(study)
    name = str(options.pop("name", None))
    found = STUDIES.check(name, options)
    for key, value in found.items():
        if value == ():
            raise UsageError(f"study '{name}': '{key}=[]': give at least one value")
    return {"name": name, **found}


def asks_for_a_study(arguments: Sequence[str]) -> bool:
    """Whether Hydra overrides name an experiment that is a study."""
    return not {f"experiment={name}" for name in list_experiments("study")}.isdisjoint(arguments)


def load_study(arguments: Sequence[str]) -> tuple[ExperimentInfo, StudyConfig]:
    """Reads an experiment that is a study: its options are those of ``study``, of the budget, and of the command line.

    Args:
        arguments: Hydra overrides: ``experiment=NAME``, and any of ``budget=cpu``, ``paths.data=...``, ``impl.device=...`` and
            ``study.OPTION=VALUE``; ``seed=0,1`` and ``init=a,b`` are its options ``seeds`` and ``starts``.

    Returns:
        The head of the experiment's page, and its run.

    Raises:
        UsageError: Naming what is unknown, out of range, or has no meaning for a study.
    """
    overrides, options = _read(arguments)
    settings = resolve(compose(overrides))
    if not isinstance(settings.get("study"), Mapping) or not isinstance(settings.get("budgets"), Mapping):
        raise UsageError(f"experiment '{settings['experiment']['name']}' is not a study: name one experiment, and once")
    budget = settings["budget"]
    if budget not in settings["budgets"]:
        raise UsageError(f"unknown budget '{budget}': {did_you_mean(budget, settings['budgets'])}")
    if not isinstance(of_budget := settings["budgets"][budget], Mapping):
        raise UsageError(f"'budgets.{budget}={of_budget}': it holds options of the study")
    study = settings["study"] | of_budget | options
    try:
        info = ExperimentInfo(**settings["experiment"])
        fields = {key: settings[key] for key in ("budget", "impl", "paths")}
        config = StudyConfig(experiment=info.name, study=checked_study(study), **fields)
    except ValidationError as error:
        raise UsageError(f"config: {explain(error, '', StudyConfig.model_fields)}") from None
    return info, config


def _read(arguments: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """The overrides that are Hydra's to apply, and the options of the study that the others set."""
    overrides: list[str] = []
    options: dict[str, Any] = {}
    for override, text in zip(parse_overrides(arguments), arguments, strict=True):
        key = override.key_or_group
        group, _, option = key.partition(".")
        if key in _LISTS:
            several = override.is_sweep_override()
            options[_LISTS[key]] = list(override.sweep_iterator()) if several else [override.value()]
        elif group == "study" and option:
            options[option] = override.value()
        elif group in _OPEN:
            overrides.append(text)
        else:
            raise UsageError(f"'{key}' means nothing to a study, which has no such part: {did_you_mean(key, _OPEN)}")
    return overrides, options
