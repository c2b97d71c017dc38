"""Reads the data of a run, and refuses a run that was begun or finished on other data."""

from __future__ import annotations

import logging
from typing import Any

from idinit.errors import UsageError

from ..config import RunConfig
from ..data import DATASETS, Batches, DataContext
from ..data.locate import nothing_downloaded
from .progress import console, in_percent
from .run_folder import RunFolder

log = logging.getLogger(__name__)


def load_data(config: RunConfig, context: DataContext) -> Batches:
    """The data of a run."""
    return DATASETS[config.entry("data")].build(context, **config.options("data"))


def say_finished(config: RunConfig, folder: RunFolder, status: dict[str, Any]) -> None:
    """Says that a run is finished and not trained again.

    Raises:
        UsageError: If the data that are there now are others than those that it was trained on.
    """
    then = folder.environment().get("data_checksum")
    try:
        with nothing_downloaded():
            data = load_data(config, DataContext(config.paths.data, config.seed))
    except UsageError as error:
        log.warning("the data of run %s cannot be compared with what is there now: %s", config.name, error)
    else:
        if then not in (None, data.checksum):  # None where env.json was lost
            raise other_data(config, then, data, "finished")
    outcome = in_percent(status.get("final") or {}) or status.get("reason") or ""
    console.print(f"{config.name} is {status['state']} ({outcome}) and not trained again: {folder.path}", soft_wrap=True)


def other_data(config: RunConfig, then: str | None, data: Batches, what: str) -> UsageError:
    """The error of a run whose data have changed: the location of data is not in its hash."""
    return UsageError(
        f"run {config.name} was {what} on other data than {data.source} as it is now (checksum {str(then)[:8]}, "
        f"now {data.checksum[:8]}): bring the data back, or delete {config.folder} to start again"
    )
