"""Forecasts of the time that the runs of an experiment take, kept beside its archive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from filelock import FileLock
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from ..atomic import write_json
from .store import damaged

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

    def runs_since(self, runs: pd.DataFrame, later: Sequence[Forecast] = ()) -> tuple[int, float]:
        """The runs since the forecast, but those that a later forecast is about.

        Args:
            runs: The archive's; see `Archive.runs`.
            later: The forecasts that were made after this one.

        Returns:
            The number of runs, and the sum of the seconds that they took.
        """
        since = self._is_about(runs)
        for other in later:
            since &= ~other._is_about(runs)
        return int(since.sum()), float(runs.loc[since, "time_s"].sum())

    def _is_about(self, runs: pd.DataFrame) -> pd.Series:
        same_grid = (runs["budget"] == self.budget) & runs["arm"].isin(self.variants)
        same_length = (runs["phase"] == "tune") | (runs["epochs"] == self.epochs)
        return same_grid & same_length & ~runs["hash"].isin(self.before)


_LIST = TypeAdapter(list[Forecast])


def read_forecasts(results_dir: Path) -> list[Forecast]:
    """The forecasts of an experiment, the oldest first; none where there is no file.

    Raises:
        UsageError: If the file is damaged.
    """
    file = results_dir / FILE
    try:
        return _LIST.validate_json(file.read_bytes()) if file.exists() else []
    except ValidationError as error:
        raise damaged(file, error) from error


def keep(forecast: Forecast, results_dir: Path) -> None:
    """Writes a forecast, unless there is one of the same grid: that of a resumed grid stays as it was.

    Args:
        forecast: The forecast.
        results_dir: ``results/<experiment>``; made if missing.
    """
    results_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(results_dir / ".lock"):
        known = read_forecasts(results_dir)
        if all(other.grid != forecast.grid for other in known):
            write_json(results_dir / FILE, [entry.model_dump() for entry in [*known, forecast]], indent=1)
