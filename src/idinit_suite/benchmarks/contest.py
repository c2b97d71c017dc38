"""Contestants that do the same work in turns.

The machine is shared and noisy, so the contestants take turns, and each turn is compared with the others of its round.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ..report.table import Table, table


@dataclass(frozen=True)
class Contest:
    """The speed of each contestant in each round.

    Attributes:
        title: What they do, and how.
        unit: What is counted a second.
        speeds: Name -> one value a round; the first contestant is ours.
        environment: Versions, hardware and commit.
    """

    title: str
    unit: str
    speeds: Mapping[str, list[float]]
    environment: Mapping[str, Any]

    def ratio(self, other: str) -> float:
        """Median over rounds of how many times as fast as another contestant ours is."""
        ours = next(iter(self.speeds.values()))
        return statistics.median(a / b for a, b in zip(ours, self.speeds[other], strict=True))

    def table(self) -> Table:
        """Each contestant with its speed and how many times as fast ours is."""
        ours = next(iter(self.speeds))
        rows = [
            (name, f"{statistics.median(values):,.0f}", "" if name == ours else f"{self.ratio(name):.2f} x")
            for name, values in self.speeds.items()
        ]
        return table(self.title, ("", f"{self.unit}/s (median)", f"{ours} is faster by"), rows)


def take_turns(
    contestants: Mapping[str, Callable[[], Any]], amount: int, rounds: int, steps: int, device: torch.device, ready: int = 0
) -> dict[str, list[float]]:
    """Measures contestants in turns.

    Args:
        contestants: Name -> a function that takes one step.
        amount: What a step does, in the unit of the speed.
        rounds: Turns of each.
        steps: Steps of a turn.
        device: Where steps take place.
        ready: Steps before each turn that do not count.

    Returns:
        Name -> the speed in each round, a second.
    """
    speeds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, step in contestants.items():
            for _ in range(ready):
                step()
            started = time.perf_counter()
            for _ in range(steps):
                step()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            speeds[name].append(steps * amount / (time.perf_counter() - started))
    return speeds
