"""A run's folder: the truth about one training. Everything downstream reads it and nothing else.

``config.yaml``, ``env.json``, ``metrics.jsonl`` (one row a line), ``status.json``, ``checkpoints/``.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import LeaseCompromise, SoftFileLease, Timeout

from ..atomic import write_atomically
from ..errors import RunLocked

FINISHED = ("done", "diverged")


LEASE_S = 60.0  # a holder that gives no sign of life for so long has lost the run; all processes must agree on it


class RunFolder:
    """The files of one run, held by one process at a time.

    Use as a context manager: entering takes the lock, leaving frees it. The lock is a lease: a file that its holder touches
    every 20 seconds, which works on any file system on which creating a file is exclusive, network file systems included.
    That of a process which was killed is taken over at once on the same machine, and from another one after a minute.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = SoftFileLease(path / ".lease", timeout=0, lease_duration=LEASE_S, on_compromise=self._take_note)
        self._lost = False
        self._metrics: Any = None

    def __enter__(self) -> RunFolder:
        """Takes the lock.

        Raises:
            RunLocked: If another process trains this run.
            OSError: If the folder cannot be made or written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout:
            raise RunLocked(
                f"run {self.path.name} is being trained by another process: wait for it, or choose another seed"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._metrics is not None:
                self._metrics.close()
        finally:
            self._metrics = None
            self._lock.release()

    def _take_note(self, _: LeaseCompromise) -> None:
        self._lost = True

    def check_held(self) -> None:
        """Makes sure that the run is still this process's: one that was suspended may find that another went on with it.

        Raises:
            RunLocked: If it is not; nothing may be written to the folder any more.
        """
        if self._lost:
            raise RunLocked(f"run {self.path.name} was taken over by another process while this one gave no sign of life")

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    def status(self) -> dict[str, Any] | None:
        """What ``status.json`` says, or None before the run's first start or where the file is damaged."""
        try:
            status: dict[str, Any] = json.loads((self.path / "status.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return status

    def environment(self) -> dict[str, Any]:
        """What ``env.json`` says; empty where it is not there or damaged."""
        try:
            environment: dict[str, Any] = json.loads((self.path / "env.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return environment

    def write_config(self, text: str) -> None:
        """Writes ``config.yaml``."""
        write_atomically(self.path / "config.yaml", text.encode())

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """Writes ``env.json``."""
        write_atomically(self.path / "env.json", _encode(environment, indent=2))

    def write_status(self, status: Mapping[str, Any]) -> None:
        """Writes ``status.json``; see `check_held`."""
        self.check_held()
        write_atomically(self.path / "status.json", _encode(status, indent=2))

    def rewind(self, step: int) -> list[dict[str, Any]]:
        """Drops the metrics of steps after ``step``, which a resumed run makes again, and a last line cut short.

        Returns:
            The rows that stay.
        """
        path = self.path / "metrics.jsonl"
        rows = [row for row in _intact_metrics(path) if row["step"] <= step] if path.exists() else []
        write_atomically(path, b"".join(_encode(row) for row in rows))
        self._metrics = path.open("ab")
        return rows

    def append(self, row: Mapping[str, Any]) -> None:
        """Adds a row to ``metrics.jsonl``; call ``rewind`` first. See `check_held`."""
        self.check_held()
        self._metrics.write(_encode(row))
        self._metrics.flush()

    def sync(self) -> None:
        """Makes sure that all rows are on the disk, before a checkpoint counts on them. See `check_held`."""
        self.check_held()
        os.fsync(self._metrics.fileno())


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
        if not line.endswith(b"\n"):
            break
        rows.append(row)
    return rows


def _encode(value: Mapping[str, Any], indent: int | None = None) -> bytes:
    return (json.dumps(_plain(value), indent=indent, allow_nan=False) + "\n").encode()


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value
