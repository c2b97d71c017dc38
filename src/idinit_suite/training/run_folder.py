"""A run's folder: the one record of a training, and all that anything downstream reads.

``config.yaml``, ``env.json``, ``metrics.jsonl`` (one row a line), ``status.json``, ``checkpoints/``.
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..atomic import read_json, write_atomically
from ..tracking.wandb_follower import AGAIN
from .lease import Lease

FINISHED = ("done", "diverged")
STATES = (*FINISHED, "running", "preempted", "failed")
_MEASURED = "samples_per_s"  # what depends on the clock in a row of metrics
log = logging.getLogger(__name__)


class RunFolder:
    """The files of one run, held by one process at a time.

    Use as a context manager: entering takes the lock, leaving frees it.

    Attributes:
        path: The folder.
        lease: The lock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lease = Lease(path)
        self._metrics: Any = None
        self._lines: list[str] = []  # of the metrics, without what depends on the clock

    def __enter__(self) -> RunFolder:
        """Takes the lock.

        Raises:
            RunLocked: If another process trains this run.
            OSError: If the folder cannot be made or written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self.lease.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._metrics is not None:
                self._metrics.close()
        finally:
            self._metrics = None
            self.lease.release()

    def clear(self) -> None:
        """Deletes what an earlier run has left, but for the lock, which this process holds, and counts how often."""
        again = self.path / AGAIN
        if (self.path / "metrics.jsonl").exists():
            again.write_text(str(1 + int(again.read_text(encoding="utf-8")) if again.exists() else 1), encoding="utf-8")
        for path in self.path.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif not path.name.startswith("."):
                path.unlink()

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    def status(self) -> dict[str, Any] | None:
        """The content of ``status.json``, or None before the run's first start or where the file is damaged."""
        status = read_json(self.path / "status.json")
        return status if isinstance(status, dict) and status.get("state") in STATES else None

    def environment(self) -> dict[str, Any]:
        """The content of ``env.json``; empty where it is not there or damaged."""
        return read_json(self.path / "env.json") or {}

    def write_config(self, text: str) -> None:
        """Writes ``config.yaml``."""
        write_atomically(self.path / "config.yaml", text.encode())

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """Writes ``env.json``."""
        write_atomically(self.path / "env.json", _encode(environment, indent=2))

    def write_status(self, status: Mapping[str, Any]) -> None:
        """Writes ``status.json``; see `Lease.check_held`."""
        self.lease.check_held()
        write_atomically(self.path / "status.json", _encode(status, indent=2))

    def rewind(self, step: int, saved: str | None = None) -> list[dict[str, Any]]:
        """Drops the metrics of steps after ``step``, which a resumed run makes again, and a last line cut short.

        Args:
            step: The last one whose rows stay.
            saved: What `sync` gave at that step. Where the file has other rows, because it was shortened, removed or damaged,
                they are made again from it, but for the speeds of rows that are gone.

        Returns:
            The rows that stay.
        """
        path = self.path / "metrics.jsonl"
        rows = [row for row in _intact_metrics(path) if row["step"] <= step] if path.exists() else []
        if saved is not None and "".join(map(_without_times, rows)) != saved:
            log.warning("metrics.jsonl of run %s lacks rows or is damaged: made again from the checkpoint", self.path.name)
            speeds = {(row["step"], row.get("split")): row.get(_MEASURED) for row in rows}
            rows = [json.loads(line) for line in saved.splitlines()]
            rows = [{**row, _MEASURED: speeds.get((row["step"], row.get("split")))} for row in rows]
        write_atomically(path, b"".join(_encode(row) for row in rows))
        self._lines = [_without_times(row) for row in rows]
        if self._metrics is not None:
            self._metrics.close()
        self._metrics = path.open("ab")
        return rows

    def append(self, row: Mapping[str, Any]) -> None:
        """Adds a row to ``metrics.jsonl``; call ``rewind`` first. See `Lease.check_held`."""
        self.lease.check_held()
        self._metrics.write(_encode(row))
        self._metrics.flush()
        self._lines.append(_without_times(row))

    def sync(self) -> str:
        """Makes sure that all rows are on the disk, before a checkpoint counts on them. See `Lease.check_held`.

        Returns:
            The rows, for `rewind`: a JSON object a line, without what depends on the clock.
        """
        self.lease.check_held()
        os.fsync(self._metrics.fileno())
        return "".join(self._lines)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a ``metrics.jsonl``; a last line that was cut short is left out.

    Raises:
        ValueError: If another line is damaged.
    """
    whole = path.read_bytes().rpartition(b"\n")[0]
    rows: list[dict[str, Any]] = json.loads(b"[" + whole.replace(b"\n", b",") + b"]")  # faster than line by line
    return rows


def _intact_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a ``metrics.jsonl`` up to the first line that is damaged, as a power cut may leave it."""
    rows = []
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            row = json.loads(line)
        except ValueError:
            break
        if not line.endswith(b"\n") or not isinstance(row, dict) or not isinstance(row.get("step"), int):
            break
        rows.append(row)
    return rows


def _without_times(row: Mapping[str, Any]) -> str:
    return _encode({key: value for key, value in row.items() if key != _MEASURED}).decode()


def _encode(value: Mapping[str, Any], indent: int | None = None) -> bytes:
    return (json.dumps(_plain(value), indent=indent, allow_nan=False) + "\n").encode()


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value
