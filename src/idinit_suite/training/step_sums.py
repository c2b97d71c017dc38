"""Sums over training steps that stay on the device until they are read, and the flag of a loss that is not finite."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Reading:
    """The sums that `StepSums.read` brings to the host.

    Attributes:
        finite: Steps with a finite loss since the last reading and before the first one without.
        diverged: Whether some loss was not finite.
    """

    finite: int
    diverged: bool


class StepSums:
    """Loss and accuracy since the last row of the train split.

    `add` queues work on the device and waits for nothing; only `read` waits.

    Attributes:
        found_inf: Whether some loss was not finite: float32 scalar, 0 or 1, as torch's fused optimizers take it. It stays 1.
    """

    def __init__(self, device: torch.device) -> None:
        self.found_inf = torch.zeros((), device=device)
        # loss, right answers, answers and steps since the last row; steps since the last reading
        self._sums = torch.zeros(5, device=device, dtype=torch.float64)
        self._none = torch.zeros_like(self._sums)
        self._one = torch.ones(2, device=device, dtype=torch.float64)
        self._host = dict.fromkeys(_NAMES, 0.0)

    def add(self, step: Tensor) -> None:
        """Takes a step into account, unless its loss or that of an earlier one is not finite.

        Args:
            step: Mean loss over the batch, right answers and answers of the step: float64 [3].
        """
        torch.maximum(self.found_inf, step[0].isfinite().logical_not().to(self.found_inf.dtype), out=self.found_inf)
        self._sums += torch.where(self.found_inf > 0, self._none, torch.cat([step, self._one]))

    def read(self) -> Reading:
        """Waits for all queued steps."""
        *sums, finite, found = torch.cat([self._sums, self.found_inf.to(torch.float64)[None]]).tolist()
        self._sums[-1] = 0
        self._host = dict(zip(_NAMES, sums, strict=True))
        return Reading(int(finite), bool(found))

    def take(self) -> dict[str, float]:
        """The means up to the last `read`, with which sums begin anew.

        No step may be added between the two.
        """
        sums = self._host
        self.load_state_dict(dict.fromkeys(_NAMES, 0.0))
        return {"loss": sums["loss"] / sums["steps"], "accuracy": sums["correct"] / sums["answers"]}

    def state_dict(self) -> dict[str, float]:
        """The sums up to the last `read`."""
        return {**self._host, "steps": int(self._host["steps"])}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Restores sums that `state_dict` gave."""
        self._host = {name: float(state[name]) for name in _NAMES}
        self._sums.copy_(torch.tensor([*self._host.values(), 0.0], dtype=torch.float64))


_NAMES = ("loss", "correct", "answers", "steps")


def is_finite(loss: float | None) -> bool:
    """Whether the loss of a row of metrics is finite; the file has null for one that is not."""
    return loss is not None and math.isfinite(loss)
