"""The training loop beside its ceiling and the usual alternatives: the same model on the same data, step by step in turns."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..config import RunConfig
from ..data import Batches, Inputs
from ..report.blocks import Block, Heading, write_markdown
from ..report.page import environment_facts, in_one_line
from ..training.compile_cache import CompiledNetworks
from ..training.distributed import Team
from ..training.environment import describe
from ..training.run_folder import RunFolder
from ..training.trainer import Training
from .baselines import rivals
from .contest import Contest, take_turns

ROUNDS, STEPS = 5, 8
OURS, CEILING = "this loop", "same step, batch already on the device"


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
    team = Team(0, 1, config.impl.torch_device())
    with tempfile.TemporaryDirectory() as folder, ExitStack() as ends:
        compiled = CompiledNetworks()  # once for both
        ours, held = (Training(config, team, RunFolder(Path(folder)), compiled, threading.Event()) for _ in range(2))
        held.learner.data = _OneBatch(held.learner.data)
        contestants = {OURS: ours.update, CEILING: held.update, **rivals(config, ours.learner.data, team.device, ends)}
        tokens = ours.learner.data.tokens_per_step
        turns = take_turns(contestants, tokens or ours.learner.data.batch_size, rounds + 1, steps, team.device)
        speeds = {name: values[1:] for name, values in turns.items()}  # the first warms up: compilation, workers, allocation
    depth = config.options("model").get("depth", "")
    name = f"{config.model['name']} {depth}" if config.experiment == "adhoc" else config.experiment
    how = f"{config.train.precision}{', compiled' if config.train.compile else ''}"
    title = f"{name}, batch {ours.learner.data.batch_size}, {how}"
    environment = describe(team.device) | {"data": ours.learner.data.source}
    return Contest(title, "tokens" if tokens else "examples", speeds, environment)


def write_page(contests: Sequence[Contest], folder: Path, rounds: int = ROUNDS, steps: int = STEPS) -> None:
    """Writes ``README.md`` in a folder, which is made if missing."""
    opening = (
        "Made by `make bench`, which measures all contestants of a table in one run: they "
        f"take turns of {steps} steps, {rounds} rounds after one to warm up. Ratios are the median over rounds of those within "
        "a round, since other work on the machine slows all of a round. Other libraries' loops are run with several settings; "
        "the fastest counts."
    )
    blocks: list[Block] = [Heading(1, "Throughput of the training loop"), opening]
    for contest in contests:
        facts = f"{in_one_line(environment_facts(contest.environment))}."
        blocks += [Heading(2, contest.title), contest.table(), facts]
    write_markdown(folder / "README.md", blocks)


class _OneBatch:
    """A data set that always gives the same batch, which is on the device already."""

    def __init__(self, data: Batches) -> None:
        self._batch = data.train_batch(0)
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._data, name)

    def train_batch(self, step: int) -> tuple[Inputs, Any]:
        return self._batch
