"""Contestants that train the same model on the same data, step by step in turns.

The machine is shared and noisy, so the contestants take turns, and each turn is compared with the others of its round.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..atomic import write_atomically
from ..config import RunConfig
from ..data import Batches, Inputs
from ..report.page import environment_facts, in_one_line
from ..report.table import markdown_table, table, terminal_table
from ..training.compile_cache import CompiledNetworks
from ..training.distributed import Workers
from ..training.environment import describe
from ..training.progress import console
from ..training.run_folder import RunFolder
from ..training.trainer import Training
from .baselines import rivals

ROUNDS, STEPS = 5, 8
OURS, CEILING = "this loop", "same step, batch already on the device"


@dataclass(frozen=True)
class Contest:
    """The speed of each contestant in each round.

    Attributes:
        title: The model, the data and how they were trained.
        unit: What is counted a second.
        environment: Versions, hardware and commit.
        speeds: Name -> one value a round.
    """

    title: str
    unit: str
    environment: dict[str, Any]
    speeds: dict[str, list[float]]

    def ratio(self, one: str, other: str) -> float:
        """Median over rounds of how many times as fast ``one`` is."""
        return statistics.median(a / b for a, b in zip(self.speeds[one], self.speeds[other], strict=True))

    @property
    def head(self) -> tuple[str, str, str]:
        """Headings of `rows`."""
        return "", f"{self.unit}/s (median)", "this loop is faster by"

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """Each contestant with its speed and how many times as fast this loop is."""
        return [
            (name, f"{statistics.median(values):,.0f}", "" if name == OURS else f"{self.ratio(OURS, name):.2f} x")
            for name, values in self.speeds.items()
        ]


def bench(config: RunConfig, *, rounds: int = ROUNDS, steps: int = STEPS) -> Contest:
    """Measures a run's model and data.

    Args:
        config: The run whose steps are taken; nothing is kept of it.
        rounds: Turns of each contestant.
        steps: Training steps of a turn.

    Returns:
        Speeds of this loop, of the same steps on a batch that lies on the device, and of the usual alternatives for such a
        model, see `rivals`.
    """
    team = Workers(0, 1, config.impl.torch_device())
    with tempfile.TemporaryDirectory() as folder, ExitStack() as ends:
        compiled = CompiledNetworks()  # once for both
        ours, held = (Training(config, team, RunFolder(Path(folder)), compiled, threading.Event()) for _ in range(2))
        held.learner.data = _Held(held.learner.data)
        contestants = {OURS: ours.update, CEILING: held.update, **rivals(config, ours.learner.data, team.device, ends)}
        tokens = ours.learner.data.tokens_per_step
        amount = tokens or ours.learner.data.batch_size
        speeds: dict[str, list[float]] = {name: [] for name in contestants}
        for round_ in range(rounds + 1):
            for name, step in contestants.items():
                seconds = _seconds(step, steps, team.device)
                if round_ > 0:  # the first round warms up: compilation, worker start, allocation
                    speeds[name].append(steps * amount / seconds)
    depth = config.options("model").get("depth", "")
    name = f"{config.model['name']} {depth}" if config.experiment == "adhoc" else config.experiment
    how = f"{config.train.precision}{', compiled' if config.train.compile else ''}"
    title = f"{name}, batch {ours.learner.data.batch_size}, {how}"
    return Contest(
        title, "tokens" if tokens else "examples", describe(team.device) | {"data": ours.learner.data.source}, speeds
    )


def show(contest: Contest) -> None:
    """Prints the contest as a table."""
    console.print(terminal_table(table(contest.title, contest.head, contest.rows)))


def write_page(contests: Sequence[Contest], folder: Path, rounds: int = ROUNDS, steps: int = STEPS) -> None:
    """Writes ``README.md`` in a folder, which is made if missing."""
    sections = [
        f"## {contest.title}\n\n{markdown_table(table(contest.title, contest.head, contest.rows))}\n\n"
        f"{in_one_line(environment_facts(contest.environment))}."
        for contest in contests
    ]
    opening = (
        "# Throughput of the training loop\n\nMade by `make bench`, which measures all contestants of a table in one run: they "
        f"take turns of {steps} steps, {rounds} rounds after one to warm up. Ratios are the median over rounds of those within "
        "a round, since other work on the machine slows all of a round. Other libraries' loops are run with several settings; "
        "the fastest counts."
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "README.md", ("\n\n".join([opening, *sections]) + "\n").encode())


class _Held:
    """A data set that always gives the same batch, which is on the device already."""

    def __init__(self, data: Batches) -> None:
        self._batch = data.train_batch(0)
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._data, name)

    def train_batch(self, step: int) -> tuple[Inputs, Any]:
        return self._batch


def _seconds(step: Callable[[], Any], count: int, device: torch.device) -> float:
    started = time.perf_counter()
    for _ in range(count):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
