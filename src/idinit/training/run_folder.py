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

from filelock import FileLock, Timeout

from ..errors import RunLocked
from ..files import write_atomically

FINISHED = ("done", "diverged")


class RunFolder:
    """The files of one run, held by one process at a time.

    Use as a context manager: entering takes the lock, leaving frees it. The lock is the operating system's, so that it is
    free again as soon as its holder is gone, however it went.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path / ".lock", timeout=0)
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

    def write_config(self, text: str) -> None:
        """Writes ``config.yaml``."""
        write_atomically(self.path / "config.yaml", text.encode())

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """Writes ``env.json``."""
        write_atomically(self.path / "env.json", _encode(environment, indent=2))

    def write_status(self, status: Mapping[str, Any]) -> None:
        """Writes ``status.json``."""
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
        """Adds a row to ``metrics.jsonl``; call ``rewind`` first."""
        self._metrics.write(_encode(row))
        self._metrics.flush()

    def sync(self) -> None:
        """Makes sure that all rows are on the disk, before a checkpoint counts on them."""
        os.fsync(self._metrics.fileno())


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a ``metrics.jsonl``; a last line that was cut short is left out.

    Raises:
        ValueError: If another line is damaged.
    """
    return [json.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


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
