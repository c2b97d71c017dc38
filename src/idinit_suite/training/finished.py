"""What is said of a run that is finished, and the refusal of one whose data have changed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from idinit.errors import UsageError

from ..config import RunConfig
from ..data import Batches, DataContext
from ..data.downloads import nothing_downloaded
from .build import load_data
from .progress import console, in_percent
from .run_folder import RunFolder

log = logging.getLogger(__name__)


def say_finished(config: RunConfig, folder: RunFolder, status: dict[str, Any]) -> None:
    """Says that a run is finished and not trained again.

    Raises:
        UsageError: If the data that are there now differ from those that it was trained on.
    """
    then = folder.environment().get("data_checksum")
    try:
        with nothing_downloaded():
            data = load_data(config, DataContext(config.paths.data, config.seed))
    except UsageError as error:
        log.warning("the data of run %s cannot be compared with what is there now: %s", config.name, error)
    else:
        if then not in (None, data.checksum):  # None where env.json was lost
            raise changed_data(config, then, data, "finished")
    outcome = in_percent(status.get("final") or {}) or status.get("reason") or ""
    console.print(f"{config.name} is {status['state']} ({outcome}) and not trained again: {folder.path}", soft_wrap=True)


def what_follows(config: RunConfig, head: Mapping[str, Any], words: Sequence[str]) -> str:
    """The command that shows a single run beside others, in a sentence.

    Args:
        config: The run.
        head: The head of its experiment's config; of a run without an experiment its name alone.
        words: The command line that trained it; other places of runs and results are repeated.
    """
    if "command" not in head:
        return f"`python -m idinit_suite compare {config.folder} ANOTHER` shows it beside another run"
    places = " ".join(word for word in words if word.startswith("paths."))
    more = f' ARGS="{places}"' if places else ""  # Hydra's quotes around a path, which may hold blanks, are single ones
    if not head.get("evidence", True):  # what a demonstration leaves stays out of the report
        return f"`{head['command']}{more}` trains the other variants and shows the table"
    return f"`make report{more}` adds it to {config.paths.results / config.experiment}"


def changed_data(config: RunConfig, then: str | None, data: Batches, what: str) -> UsageError:
    """The error of a run whose data have changed: the location of data is not in its hash."""
    return UsageError(
        f"run {config.name} was {what} on other data than {data.source} as it is now (checksum {str(then)[:8]}, "
        f"now {data.checksum[:8]}): bring the data back, or delete {config.folder} to start again"
    )
