"""A run's folder: the one record of a training, and all that anything downstream reads.

``config.yaml``, ``env.json``, ``metrics.jsonl`` (one row a line), ``status.json``, ``checkpoints/``.
"""

from __future__ import annotations

import json
import logging
import math
import os
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import LeaseCompromise, SoftFileLease, Timeout

from ..atomic import read_json, write_atomically
from ..errors import RunLocked
from ..tracking.wandb_follower import AGAIN

FINISHED = ("done", "diverged")
STATES = (*FINISHED, "running", "preempted", "failed")
_MEASURED = "samples_per_s"  # what depends on the clock in a row of metrics
log = logging.getLogger(__name__)

LEASE_S = 60.0  # a holder that has not renewed its lease for this long has lost the run; all processes must agree on it


class RunFolder:
    """The files of one run, held by one process at a time.

    Use as a context manager: entering takes the lock, leaving frees it. The lock is a lease: a file that its holder touches
    every 20 seconds, which works on any file system on which creating a file is exclusive, network file systems included.
    That of a process which was killed is taken over at once on the same machine, and from another one after a minute, by the
    file system's clock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = SoftFileLease(path / ".lease", timeout=0, lease_duration=LEASE_S, on_compromise=self._note_lost_lease)
        self._lost = False
        self._metrics: Any = None
        self._lines: list[str] = []  # of the metrics, without what depends on the clock

    def __enter__(self) -> RunFolder:
        """Takes the lock.

        Raises:
            RunLocked: If another process trains this run.
            OSError: If the folder cannot be made or written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            try:
                self._lock.acquire()
            except Timeout:
                if not self._break_expired():
                    raise
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

    def _break_expired(self) -> bool:
        """Removes the lease of another machine that was not touched for its whole time; returns whether it did.

        The lock itself would have to watch it for that long, and one call of a command does not stay.
        """
        lease = self.path / ".lease"
        try:
            found, text = lease.stat(), lease.read_text(encoding="utf-8")
        except OSError:
            return True  # it was freed meanwhile
        if f"host={socket.gethostname()}" in text.splitlines() or self._now() - found.st_mtime <= LEASE_S:
            return False
        aside = lease.with_name(f".lease.{os.getpid()}.{secrets.token_hex(8)}")
        with suppress(OSError):
            lease.rename(aside)
            if aside.stat().st_ino != found.st_ino:  # another process was faster, and this is its lease
                os.link(aside, lease)
            aside.unlink()
        return True

    def is_held(self) -> bool:
        """Whether a process that gives signs of life trains the run, as far as this can be told without taking the lock."""
        try:
            owner, touched = self._lock.owner, (self.path / ".lease").stat().st_mtime
        except FileNotFoundError:
            return False
        if time.time() - touched > LEASE_S:
            return False
        if owner is not None and owner.hostname == socket.gethostname():
            with suppress(PermissionError):  # it is there, and another user's
                try:
                    os.kill(owner.pid, 0)
                except ProcessLookupError:
                    return False
        return True

    def _now(self) -> float:
        """The file system's time, by which all machines judge alike."""
        with tempfile.TemporaryFile(dir=self.path) as probe:
            probe.write(b"0")
            probe.flush()
            return os.fstat(probe.fileno()).st_mtime

    def _note_lost_lease(self, _: LeaseCompromise) -> None:
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
        """Writes ``status.json``; see `check_held`."""
        self.check_held()
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
        """Adds a row to ``metrics.jsonl``; call ``rewind`` first. See `check_held`."""
        self.check_held()
        self._metrics.write(_encode(row))
        self._metrics.flush()
        self._lines.append(_without_times(row))

    def sync(self) -> str:
        """Makes sure that all rows are on the disk, before a checkpoint counts on them. See `check_held`.

        Returns:
            The rows, for `rewind`: a JSON object a line, without what depends on the clock.
        """
        self.check_held()
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
