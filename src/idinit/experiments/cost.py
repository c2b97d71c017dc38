"""What runs will cost on this machine, measured by a few steps of each model."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import torch
from rich.table import Table

from ..config import RunConfig
from ..data import DATASETS, Batches
from ..errors import UsageError
from ..report.archive import archived
from ..training.loop import autocast, build
from ..training.progress import console
from ..training.task import Classification
from .grid import Experiment, list_experiments, load
from .search import pick

_MEASURED_STEPS = 3


def announce(experiment: Experiment, runs: Sequence[RunConfig], missing: Sequence[RunConfig]) -> None:
    """Prints the first line of an experiment: its budget, its runs and the time they will take."""
    budget = runs[0].budget
    asked = any(override.startswith("budget=") for override in experiment.overrides)
    why = "" if asked else " (there is a GPU)" if torch.cuda.is_available() else " (no GPU here)"
    searches = sum(config.phase == "tune" for config in runs)
    tuned = f" and {searches} short ones that pick the recipe" if searches else ""
    left = f"{len(missing)} to do, about {duration(estimate(missing))}" if missing else "all done"
    console.print(f"{experiment.info.name}: budget {budget}{why}: {len(runs) - searches} runs{tuned}; {left}", soft_wrap=True)


def plan(overrides: Sequence[str]) -> None:
    """Prints what each experiment costs here, what is done and what is missing.

    Args:
        overrides: Overrides that hold for every experiment, such as ``budget=cpu`` or ``paths.data=...``.
    """
    table = Table(title="What is missing, and what it would take on this machine")
    for heading in ("experiment", "budget", "runs", "done", "missing", "time for what is missing"):
        table.add_column(heading, justify="left" if heading in ("experiment", "budget") else "right")
    for name in list_experiments():
        experiment = load([f"experiment={name}", *overrides])
        results = experiment.paths.results / name
        searches = experiment.tuning_runs()
        runs = [*searches, *experiment.main_runs(pick(experiment, searches, results))]
        done = archived(results)
        missing = [config for config in runs if config.hash not in done]
        try:
            cost = duration(estimate(missing))
        except UsageError as error:
            cost = str(error).splitlines()[0]
        table.add_row(name, runs[0].budget, *map(str, (len(runs), len(runs) - len(missing), len(missing))), cost)
    console.print(table)


def estimate(runs: Sequence[RunConfig]) -> float:
    """Seconds that the runs would take here one after the other, from a few measured steps of each distinct model.

    Runs that are partly done count in full, and a run that diverges early takes less: an upper bound but for noise.
    """
    loaded: dict[str, Batches] = {}
    measured: dict[str, tuple[float, float]] = {}
    total = 0.0
    for config in runs:
        data_key = json.dumps(config.data, sort_keys=True, default=str)
        if data_key not in loaded:
            loaded[data_key] = _load(config)
        data = loaded[data_key]
        key = json.dumps([config.model, config.data, config.init["name"]], sort_keys=True, default=str)
        if key not in measured:
            measured[key] = _seconds(config, data)
        step, example = measured[key]
        total += step * config.train.epochs * data.steps_per_epoch + example * _evaluated(config, data)
    return total


def duration(seconds: float) -> str:
    """A time for people: ``0:02:10``."""
    return str(timedelta(seconds=round(seconds)))


def _load(config: RunConfig) -> Batches:
    device = config.impl.torch_device()
    last = config.impl.channels_last
    built: Batches = DATASETS[config.data["name"]].build(
        config.paths.data, config.seed, device, rank=0, world=1, channels_last=last, **config.options("data")
    )
    return built


def _evaluated(config: RunConfig, data: Batches) -> int:
    """Examples that a run evaluates, all evaluations together: a search run neither begins with one nor sees the test split."""
    times = math.ceil(config.train.epochs / config.train.evaluate_every)
    if config.phase == "tune":
        return times * data.splits.get("validation", 0)
    return (1 + times) * sum(count for split, count in data.splits.items() if split != "train")


def _seconds(config: RunConfig, data: Batches) -> tuple[float, float]:
    """Seconds of a training step, and of the evaluation of one example."""
    if config.impl.threads is not None:
        torch.set_num_threads(config.impl.threads)
    device = config.impl.torch_device()
    layout = torch.channels_last if config.impl.channels_last else torch.contiguous_format
    model = build(config, data)[0].to(device, memory_format=layout)  # type: ignore[call-overload]
    task = Classification()

    def step(number: int) -> None:
        inputs, targets = data.train_batch(number)
        with autocast(config, device):
            logits = model(*inputs)
        task.loss(logits, targets).backward()
        model.zero_grad()

    def evaluate(number: int) -> None:
        inputs, _ = data.train_batch(number)
        with torch.no_grad(), autocast(config, device):
            model(*inputs)

    return _time(step, device), _time(evaluate, device) / data.batch_size


def _time(action: Callable[[int], Any], device: torch.device) -> float:
    action(0)  # the first one also allocates
    started = time.perf_counter()
    for number in range(_MEASURED_STEPS):
        action(number)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - started) / _MEASURED_STEPS
