"""A grid of runs: what an experiment's file and the command line ask for, as one configuration a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any, Literal

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from idinit.errors import UsageError, did_you_mean
from idinit.initializers import INITIALIZERS
from idinit.registry import explain

from ..config import CONFIG_DIR, PathsConfig, RunConfig, check, compose, resolve, usage_error
from ..config.experiment import ExperimentInfo


class Tuning(BaseModel):
    """The search each arm gets, the same for all: short runs, compared on the validation split.

    Attributes:
        key: What is searched, e.g. ``optim.lr``.
        values: The grid.
        epochs: Length of a search run.
        seed: Seed of the search runs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    values: Annotated[tuple[float, ...], Field(min_length=1)]
    epochs: Annotated[float, Field(gt=0)]
    seed: Annotated[int, Field(ge=0)] = 0


class Grid(BaseModel):
    """The runs of an experiment: every arm with every seed, at every point of its sweep.

    Attributes:
        arms: Label of a row of the table -> the overrides that make it.
        seeds: Seeds of the main runs.
        tune: The search before them, if any.
        sweep: Keys of which the experiment maps several values, each with each: key -> values.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    arms: Annotated[dict[str, tuple[str, ...]], Field(min_length=1)]
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
    tune: Tuning | None = None
    sweep: dict[str, Annotated[tuple[float | str, ...], Field(min_length=1)]] = {}


@dataclass(frozen=True)
class Experiment:
    """An experiment as asked for on the command line.

    Attributes:
        info: What its page says of it.
        grid: Its arms, seeds and search, as narrowed by ``init=`` and ``seed=``.
        overrides: The other overrides; they hold for every run.
        sweep: Overrides with several values (``optim.lr=0.01,0.1``), and those of the grid that the command line leaves:
            key -> values.
        paths: Where its data, runs and results are.
        launcher: What ``launcher`` says; see `idinit_suite.experiments.launcher`.
    """

    info: ExperimentInfo
    grid: Grid
    paths: PathsConfig
    overrides: tuple[str, ...]
    sweep: Mapping[str, tuple[str, ...]]
    launcher: Mapping[str, Any]

    def tuning_runs(self) -> list[RunConfig]:
        """The search runs; none where there is no search, or the command line sets what it would find.

        Raises:
            UsageError: If there is no validation split to compare them on.
        """
        tune = self.grid.tune
        if tune is None or tune.key in self.sweep or any(o.lstrip("+").startswith(f"{tune.key}=") for o in self.overrides):
            return []
        length = {"train.epochs": tune.epochs, "phase": "tune"}
        runs = [
            check(_changed(config, {"seed": tune.seed, **length, tune.key: value}))
            for arm in self.grid.arms
            for config in [self._composed(arm)]
            for value in tune.values
        ]
        if any(run.data.get("validation") == 0 for run in runs):
            raise UsageError(f"data.validation=0 leaves nothing to pick {tune.key} by: hold images out, or set {tune.key}")
        return runs

    def main_runs(self, picked: Mapping[str, float]) -> list[RunConfig]:
        """The main runs, seed by seed across arms.

        Args:
            picked: Arm -> value of the search's key; arms without one keep the recipe's.
        """
        tune = self.grid.tune
        configs = []
        for arm in self.grid.arms:
            found = {tune.key: picked[arm]} if tune is not None and arm in picked else {}
            for values in product(*self.sweep.values()):
                swept = [f"{key}={value}" for key, value in zip(self.sweep, values, strict=True)]
                configs.append(_changed(self._composed(arm, *swept), found))
        return [check(_changed(config, {"seed": seed})) for seed in self.grid.seeds for config in configs]

    def _composed(self, arm: str, *more: str) -> DictConfig:
        return compose([f"experiment={self.info.name}", *self.grid.arms[arm], f"arm={arm}", *more, *self.overrides])


def _changed(config: DictConfig, values: Mapping[str, Any]) -> DictConfig:
    changed = config.copy()
    for key, value in values.items():
        OmegaConf.update(changed, key, value)
    return changed


def list_experiments(kind: Literal["grid", "study"] = "grid") -> list[str]:
    """Names of the files in ``configs/experiment`` that are grids of runs, or studies (``idinit_suite.studies``)."""
    files = (CONFIG_DIR / "experiment").glob("*.yaml")
    return sorted(path.stem for path in files if ("\nstudy:" in path.read_text(encoding="utf-8")) == (kind == "study"))


def load(arguments: Sequence[str]) -> Experiment:
    """Reads an experiment and what the command line changes of it.

    Args:
        arguments: Hydra overrides: ``experiment=NAME``, and any of ``init=a,b`` (arms, or any initializer), ``seed=0,1`` or
            ``seed=range(3)``, ``budget=cpu``, and others, which hold for every run or are swept when they have several values.

    Raises:
        UsageError: Naming what is unknown or out of range.
    """
    try:
        parsed = OverridesParser.create().parse_overrides(list(arguments))
    except HydraException as error:
        raise usage_error(error, arguments) from None
    name, arms, seeds = None, None, None
    plain: list[str] = []
    sweep: dict[str, tuple[str, ...]] = {}
    for override, text in zip(parsed, arguments, strict=True):
        key = override.key_or_group
        values = tuple(override.sweep_string_iterator()) if override.is_sweep_override() else None
        if key == "experiment" and values is None:
            name = str(override.value())
        elif key == "init":
            arms = values or (str(override.value()),)
        elif key == "seed":
            seeds = values or (str(override.value()),)
        elif values is not None:
            sweep[key] = values
        else:
            plain.append(text)
    if name is None:
        raise UsageError(
            f"which experiment? Say one, experiment=NAME. Valid: {', '.join([*list_experiments(), *list_experiments('study')])}"
        )
    settings = resolve(compose([f"experiment={name}", *plain]))
    grid = settings.get("grid") or {}
    planned = dict(grid.get("arms") or {})
    grid["arms"] = _choose_arms(planned, arms)
    if seeds is not None:
        grid["seeds"] = seeds
    try:
        info = ExperimentInfo(**settings["experiment"], arms=tuple(planned))
        checked = Grid(**grid)
        said = {override.key_or_group for override in parsed}
        mapped = {key: tuple(map(str, values)) for key, values in checked.sweep.items() if key not in said}
        paths = PathsConfig(**settings["paths"])
        return Experiment(info, checked, paths, tuple(plain), {**mapped, **sweep}, settings["launcher"])
    except ValidationError as error:
        raise UsageError(f"experiment '{name}': {explain(error, '', Grid.model_fields)}") from None


def _choose_arms(arms: dict[str, Any], names: Sequence[str] | None) -> dict[str, Any]:
    """The arms asked for; a name that is no arm may be any initializer."""
    if names is None:
        return arms
    chosen = {}
    for name in names:
        if name not in arms and name not in set(INITIALIZERS):
            raise UsageError(f"unknown initializer '{name}': {did_you_mean(name, {*arms, *INITIALIZERS})}")
        chosen[name] = arms.get(name, [f"init={name}"])
    return chosen
