"""What the runs of an experiment were forecast to take, kept beside its archive, and what they then took."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
from filelock import FileLock
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from ..archive.runs import damaged
from ..atomic import write_atomically
from ..config import RunConfig
from .grid import Experiment

FILE = "forecasts.json"


class Forecast(BaseModel):
    """A forecast, made when a grid of runs was begun.

    Attributes:
        grid: Eight hexadecimal digits that name the grid: its variants, seeds and recipe, whatever its search finds.
        budget: Its budget.
        epochs: Length of its main runs.
        variants: Labels of its variants.
        runs: Number of runs that were missing, those of the search that were foreseen included.
        seconds: What they would take on that machine, one after the other.
        before: Hashes of the runs that were in the archive.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    grid: str
    budget: str
    epochs: float
    variants: tuple[str, ...]
    runs: int
    seconds: float
    before: tuple[str, ...]

    def took(self, runs: pd.DataFrame) -> tuple[int, float]:
        """What was run since.

        Args:
            runs: The archive's; see `idinit_suite.archive.runs.Archive`.

        Returns:
            The number of runs, and the sum of the seconds that they took.
        """
        same_grid = (runs["budget"] == self.budget) & runs["arm"].isin(self.variants)
        same_length = (runs["phase"] == "tune") | (runs["epochs"] == self.epochs)
        since = runs[same_grid & same_length & ~runs["hash"].isin(self.before)]
        return len(since), float(since["time_s"].sum())


_LIST = TypeAdapter(list[Forecast])


def read(results_dir: Path) -> list[Forecast]:
    """The forecasts of an experiment, the oldest first; none where there is no file.

    Raises:
        UsageError: If the file is damaged.
    """
    file = results_dir / FILE
    try:
        return _LIST.validate_json(file.read_bytes()) if file.exists() else []
    except ValidationError as error:
        raise damaged(file, error) from error


def record(experiment: Experiment, missing: Sequence[RunConfig], seconds: float, before: Iterable[str]) -> None:
    """Keeps the forecast of a grid that is begun; that of one which goes on stays as it was.

    Args:
        experiment: What is begun.
        missing: Its runs that are not there.
        seconds: What they will take.
        before: Hashes of the runs in its archive.
    """
    results = experiment.paths.results / experiment.info.name
    main = experiment.main_runs({})
    forecast = Forecast(
        grid=hashlib.sha256("".join(sorted(config.hash for config in main)).encode()).hexdigest()[:8],
        budget=main[0].budget,
        epochs=main[0].train.epochs,
        variants=tuple(experiment.grid.arms),
        runs=len(missing),
        seconds=float(f"{seconds:.3g}"),
        before=tuple(sorted(before)),
    )
    results.mkdir(parents=True, exist_ok=True)
    with FileLock(results / ".lock"):
        known = read(results)
        if all(other.grid != forecast.grid for other in known):
            text = json.dumps([entry.model_dump() for entry in [*known, forecast]], indent=1) + "\n"
            write_atomically(results / FILE, text.encode())
