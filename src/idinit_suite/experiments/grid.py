"""The grid of runs that an experiment's file and the command line describe, as one configuration a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, product
from pathlib import Path
from typing import Annotated, Any

from omegaconf import OmegaConf
from pydantic import ConfigDict, Field, NonNegativeInt, PositiveFloat, ValidationError, field_validator

from idinit.errors import UsageError, did_you_mean
from idinit.initializers import INITIALIZERS
from idinit.options import Options
from idinit.registry import explain

from ..config import LauncherConfig, PathsConfig, RunConfig, Seed, check, checked, compose, key_of, parse_overrides, resolve
from ..config.experiment import ExperimentInfo, list_experiments


class Tuning(Options):
    """The search each variant gets, the same for all: short runs, compared on the validation split.

    See `idinit_suite.experiments.tuning` for how it proceeds.

    Attributes:
        key: What is searched, e.g. ``optim.lr``.
        factors: The grid, ascending: multiples of the value that the variant's own recipe has.
        epochs: Length of a search run.
        rungs: Shares of that length at which values are compared, ascending and ending with 1. The better half of the
            values goes on from each to the next.
        widen: Most values that are added beyond the grid on each side.
        seed: Seed of the search runs.
    """

    model_config = ConfigDict(frozen=True)

    key: str
    factors: Annotated[tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...], Field(min_length=3)]
    epochs: PositiveFloat
    rungs: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1)] = (1.0,)
    widen: NonNegativeInt = 3
    seed: Seed = 0

    @field_validator("factors", "rungs")
    @classmethod
    def _ascending(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if any(left >= right for left, right in pairwise(values)):
            raise ValueError("give each once, the smallest first")
        return values

    @field_validator("rungs")
    @classmethod
    def _whole_at_last(cls, rungs: tuple[float, ...]) -> tuple[float, ...]:
        if rungs[-1] != 1:
            raise ValueError("the last rung is 1, a whole search run")
        return rungs


class Grid(Options):
    """The runs of an experiment: every variant with every seed, at every point of its sweep.

    Attributes:
        arms: The variants: label of a row of the table -> the overrides that make it.
        seeds: Seeds of the main runs.
        tune: The search before them, if any.
        sweep: Keys of which the experiment maps several values, each with each: key -> values.
    """

    model_config = ConfigDict(frozen=True)

    arms: Annotated[dict[str, tuple[str, ...]], Field(min_length=1)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    tune: Tuning | None = None
    sweep: dict[str, Annotated[tuple[float | str, ...], Field(min_length=1)]] = {}


@dataclass(frozen=True)
class GridPoint:
    """A variant at one point of the sweep: what a search is made for, and trained with each seed.

    Attributes:
        variant: Label of the row of the table.
        overrides: What is swept, as overrides; none where nothing is.
    """

    variant: str
    overrides: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join([self.variant, *self.overrides])


@dataclass(frozen=True)
class Experiment:
    """An experiment as asked for on the command line.

    Attributes:
        info: The head of its page.
        grid: Its variants, seeds and search, as narrowed by ``init=`` and ``seed=``.
        overrides: The other overrides; they hold for every run.
        sweep: Overrides with several values (``optim.lr=0.01,0.1``), and those of the grid that the command line leaves:
            key -> values.
        paths: Where its data, runs and results are.
        launcher: Where its runs take place.
    """

    info: ExperimentInfo
    grid: Grid
    paths: PathsConfig
    overrides: tuple[str, ...]
    sweep: Mapping[str, tuple[str, ...]]
    launcher: LauncherConfig

    @property
    def results(self) -> Path:
        """The folder of its archive and its page."""
        return self.paths.results / self.info.name

    @property
    def tuned(self) -> bool:
        """Whether there is a search: not where the command line sets or sweeps what it would find."""
        given = {*self.sweep, *map(key_of, self.overrides)}
        return self.grid.tune is not None and self.grid.tune.key not in given

    def points(self) -> list[GridPoint]:
        """Every variant at every point of the sweep."""
        swept = [
            tuple(f"{key}={value}" for key, value in zip(self.sweep, values, strict=True))
            for values in product(*self.sweep.values())
        ]
        return [GridPoint(variant, overrides) for variant in self.grid.arms for overrides in swept]

    def recipe_value(self, point: GridPoint) -> float:
        """The value that the recipe of a point has for the search's key, e.g. its learning rate."""
        assert self.grid.tune is not None
        value = OmegaConf.select(compose(self._overrides(point)), self.grid.tune.key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(f"grid.tune.key={self.grid.tune.key} is not a number in the recipe, so it cannot be searched")
        return float(value)

    def search_run(self, point: GridPoint, value: float, share: float) -> RunConfig:
        """A run of a point's search.

        Args:
            point: What it is for.
            value: What it tries.
            share: Its length, as a share of a whole search run's.

        Raises:
            UsageError: If there is no validation split to compare it on.
        """
        tune = self.grid.tune
        assert tune is not None
        changes = {"seed": tune.seed, "train.epochs": tune.epochs * share, "phase": "tune", tune.key: value}
        run = _checked(self._overrides(point), tuple(changes.items()))
        if run.data.get("validation") == 0:
            raise UsageError(f"data.validation=0 leaves nothing to pick {tune.key} by: hold images out, or set {tune.key}")
        return run

    def main_runs(self, picked: Mapping[GridPoint, float], points: Sequence[GridPoint] | None = None) -> list[RunConfig]:
        """Main runs, seed by seed across variants.

        Args:
            picked: Value of the search's key by point; those without one keep the recipe's.
            points: Those whose runs are meant; None for all.
        """
        tune = self.grid.tune
        found = {point: {tune.key: value} for point, value in picked.items()} if tune is not None else {}
        return [
            _checked(self._overrides(point), tuple({**found.get(point, {}), "seed": seed}.items()))
            for seed in self.grid.seeds
            for point in (self.points() if points is None else points)
        ]

    def _overrides(self, point: GridPoint) -> tuple[str, ...]:
        own = self.grid.arms[point.variant]
        return (f"experiment={self.info.name}", *own, f"arm={point.variant}", *point.overrides, *self.overrides)


@lru_cache(maxsize=4096)  # a sweep asks again and again which runs it has
def _checked(overrides: tuple[str, ...], changes: tuple[tuple[str, Any], ...]) -> RunConfig:
    config = compose(overrides)
    for key, value in changes:
        OmegaConf.update(config, key, value)
    return check(config)


def select(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """The experiments that ``experiment=a,b`` selects, grids and studies, all where there is none; and the other overrides.

    Raises:
        UsageError: If there is no experiment of such a name.
    """
    given = [text.partition("=")[2] for text in overrides if key_of(text) == "experiment"]
    names = [name for value in given for name in value.split(",")]
    for name in names:
        if name not in list_experiments():
            raise UsageError(f"unknown experiment '{name}': {did_you_mean(name, list_experiments())}")
    return names or list(list_experiments()), [text for text in overrides if key_of(text) != "experiment"]


def load_experiment(arguments: Sequence[str]) -> Experiment:
    """Reads an experiment and what the command line changes of it.

    Args:
        arguments: Hydra overrides: ``experiment=NAME``, and any of ``init=a,b`` (variants, or any initializer), ``seed=0,1`` or
            ``seed=range(3)``, ``budget=cpu``, and others, which hold for every run or are swept when they have several values.

    Raises:
        UsageError: Naming what is unknown or out of range.
    """
    parsed = parse_overrides(arguments)
    name, variants, seeds = None, None, None
    plain: list[str] = []
    sweep: dict[str, tuple[str, ...]] = {}
    for override, text in zip(parsed, arguments, strict=True):
        key = override.key_or_group
        values = tuple(override.sweep_string_iterator()) if override.is_sweep_override() else None
        if key == "experiment" and values is None:
            name = str(override.value())
        elif key == "init":
            variants = values or (str(override.value()),)
        elif key == "seed":
            seeds = values or (str(override.value()),)
        elif values is not None:
            sweep[key] = values
        else:
            plain.append(text)
    if name is None:
        raise UsageError(f"which experiment? Set experiment=NAME. Valid: {', '.join(list_experiments())}")
    settings = resolve(compose([f"experiment={name}", *plain]))
    grid = settings.get("grid") or {}
    if not isinstance(grid, Mapping) or not isinstance(grid.get("arms"), Mapping):
        raise UsageError(f"experiment '{name}' has no grid of runs: its file gives its variants under grid.arms")
    planned = dict(grid["arms"])
    grid = {**grid, "arms": _choose_variants(planned, variants)}
    if seeds is not None:
        grid["seeds"] = seeds
    paths = checked(PathsConfig, settings.get("paths"), "paths")
    launcher = checked(LauncherConfig, settings.get("launcher"), "launcher")
    try:
        info = ExperimentInfo(**settings["experiment"], variants=tuple(planned))
        runs = Grid(**grid)
        given = {override.key_or_group for override in parsed}
        mapped = {key: tuple(map(str, values)) for key, values in runs.sweep.items() if key not in given}
        return Experiment(info, runs, paths, tuple(plain), {**mapped, **sweep}, launcher)
    except ValidationError as error:
        raise UsageError(f"experiment '{name}': {explain(error, '', Grid.model_fields)}") from None


def _choose_variants(planned: dict[str, Any], names: Sequence[str] | None) -> dict[str, Any]:
    """The variants asked for; a name that is not a variant may be any initializer."""
    if names is None:
        return planned
    chosen = {}
    for name in names:
        if name not in planned and name not in set(INITIALIZERS):
            raise UsageError(f"unknown initializer '{name}': {did_you_mean(name, {*planned, *INITIALIZERS})}")
        chosen[name] = planned.get(name, [f"init={name}"])
    return chosen
