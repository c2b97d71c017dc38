"""``status.json``: the progress of a run, and its result."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from .run_folder import RunFolder

Status = dict[str, Any]


class StatusWriter:
    """Writes the state of a run to its folder.

    Args:
        folder: The run's folder, locked; None in a process that does not write.
        run_hash: Hash of the run.
        steps: Steps of the whole run.
        steps_per_epoch: Steps of an epoch.
        tokens: Of a step; None where that is not a number of the run.
        flops: Of a step; None where they are not known.
    """

    def __init__(
        self,
        folder: RunFolder | None,
        run_hash: str,
        *,
        steps: int,
        steps_per_epoch: int,
        tokens: int | None,
        flops: int | None,
    ) -> None:
        self._folder, self._run_hash, self._steps, self._per_epoch = folder, run_hash, steps, steps_per_epoch
        self._tokens, self._flops = tokens, flops
        self._earlier = (folder.status() or {}).get("time_s", 0.0) if folder else 0.0
        self._started = time.monotonic()

    def write(
        self, state: str, step: int, final: Mapping[str, Any], *, reason: str | None = None, error: str | None = None
    ) -> Status:
        """Writes ``status.json``.

        Args:
            state: ``running``, ``done``, ``diverged``, ``preempted`` or ``failed``.
            step: Finished steps.
            final: The last row of metrics of each split.
            reason: Why a run has diverged.
            error: Why it has failed, and what to do.

        Returns:
            What was written.
        """
        status = {
            "state": state,
            "hash": self._run_hash,
            "step": step,
            "steps": self._steps,
            "epoch": step / self._per_epoch,
            "time_s": self._earlier + time.monotonic() - self._started,
            "tokens": self._tokens and step * self._tokens,
            "flops": self._flops and step * self._flops,
            "final": dict(final),
            "reason": reason,
            "error": error,
        }
        if self._folder is not None:
            self._folder.write_status(status)
        return status
