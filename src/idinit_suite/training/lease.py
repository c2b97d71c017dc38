"""The lock of a run folder: a lease, which outlives a process that was killed for a minute at most."""

from __future__ import annotations

import os
import secrets
import socket
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from filelock import LeaseCompromise, SoftFileLease, Timeout

from ..errors import RunLocked

LEASE_S = 60.0  # a holder that has not renewed its lease for this long has lost the run; all processes must agree on it


class Lease:
    """A file that its holder touches every 20 seconds.

    It works on any file system on which creating a file is exclusive, network file systems included. That of a process which
    was killed is taken over at once on the same machine, and from another one after a minute, by the file system's clock.

    Args:
        folder: The run folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._file = folder, folder / ".lease"
        self._lock = SoftFileLease(self._file, timeout=0, lease_duration=LEASE_S, on_compromise=self._note_loss)
        self._lost = False

    def acquire(self) -> None:
        """Takes the lease; the folder must exist.

        Raises:
            RunLocked: If another process has it.
            OSError: If the folder cannot be written.
        """
        try:
            try:
                self._lock.acquire()
            except Timeout:
                if not self._break_expired():
                    raise
                self._lock.acquire()
        except Timeout:
            raise RunLocked(
                f"run {self._folder.name} is being trained by another process: wait for it, or choose another seed"
            ) from None

    def release(self) -> None:
        """Frees the lease."""
        self._lock.release()

    def check_held(self) -> None:
        """Makes sure that the run is still this process's: one that was suspended may find that another went on with it.

        Raises:
            RunLocked: If it is not; nothing may be written to the folder any more.
        """
        if self._lost:
            raise RunLocked(f"run {self._folder.name} was taken over by another process while this one gave no sign of life")

    def is_held(self) -> bool:
        """Whether a process that gives signs of life has the lease, as far as this can be told without taking it."""
        try:
            owner, touched = self._lock.owner, self._file.stat().st_mtime
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

    def _break_expired(self) -> bool:
        """Removes the lease of another machine that was not touched for its whole time; returns whether it did.

        The lock itself would have to watch it for that long, and one call of a command does not stay.
        """
        try:
            found, text = self._file.stat(), self._file.read_text(encoding="utf-8")
        except OSError:
            return True  # it was freed meanwhile
        if f"host={socket.gethostname()}" in text.splitlines() or self._now() - found.st_mtime <= LEASE_S:
            return False
        aside = self._file.with_name(f".lease.{os.getpid()}.{secrets.token_hex(8)}")
        with suppress(OSError):
            self._file.rename(aside)
            if aside.stat().st_ino != found.st_ino:  # another process was faster, and this is its lease
                os.link(aside, self._file)
            aside.unlink()
        return True

    def _now(self) -> float:
        """The file system's time, by which all machines judge alike."""
        with tempfile.TemporaryFile(dir=self._folder) as probe:
            probe.write(b"0")
            probe.flush()
            return os.fstat(probe.fileno()).st_mtime

    def _note_loss(self, _: LeaseCompromise) -> None:
        self._lost = True
