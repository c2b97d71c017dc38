"""Finished runs of a sweep that were trained on other data than those that are there now."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from idinit.errors import UsageError

from ..archive.runs import data_of_runs
from ..config import RunConfig
from ..data import DataContext
from ..data.downloads import nothing_downloaded
from ..training.build import load_data


class DataCheck:
    """Compares the data of archived runs with those that are there, each of which is read once.

    Args:
        results: The archive.
    """

    def __init__(self, results: Path) -> None:
        self._results = results
        self._here: dict[str, tuple[str, str | None]] = {}  # options of data -> title, checksum; None: they cannot be read
        self._seen: set[str] = set()  # hashes of runs

    def differences(self, runs: Sequence[RunConfig], missing: Sequence[RunConfig]) -> dict[str, str]:
        """Says which finished runs, of those that were not compared before, are of other data.

        Args:
            runs: Those that are needed.
            missing: Those of them, and others, that are to be trained. What none of them needs is not downloaded.

        Returns:
            Hash of a run -> what differs, and the remedy. A run whose data are not there is not among them.
        """
        passed_over = self._seen | {config.hash for config in missing}
        new = [config for config in runs if config.hash not in passed_over]
        self._seen |= {config.hash for config in new}
        then = data_of_runs(self._results) if new else {}
        needed = set(map(data_key, missing))
        found = {}
        for config in new:
            title, checksum = then.get(config.hash, ("", None))
            source, here = self._read(config, data_key(config) in needed)
            if checksum is not None and here not in (None, checksum):
                found[config.hash] = (
                    f"finished runs are of {title} (checksum {checksum[:8]}), and here is {source} (checksum {here[:8]}): "
                    "bring those data back, keep both by another paths.runs and paths.results, or replace these runs by "
                    "force=true (FORCE=1 with make)"
                )
        return found

    def _read(self, config: RunConfig, download: bool) -> tuple[str, str | None]:
        key = data_key(config)
        if key not in self._here:
            try:
                with nullcontext() if download else nothing_downloaded():
                    data = load_data(config, DataContext(config.paths.data, config.seed))
                self._here[key] = data.source, data.checksum
            except UsageError:
                self._here[key] = "", None
        return self._here[key]


def data_key(config: RunConfig) -> str:
    """Equal for runs of the same data."""
    return json.dumps(config.data, sort_keys=True, default=str)
