"""Cost of runs on this machine, measured by a few steps of each model."""

from __future__ import annotations

import hashlib
import json
import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from idinit.errors import UsageError

from ..archive.forecasts import Forecast
from ..config import RunConfig, key_of
from ..data import Batches, DataContext
from ..training.build import load_data
from ..training.compile_cache import CompiledNetworks
from ..training.distributed import Team
from ..training.learner import Learner
from ..training.precision import autocast
from ..training.progress import clock_time, console
from ..words import pluralize
from .grid import Experiment
from .other_data import data_key
from .tuning import Plan

_MEASURED_STEPS = 3
_MEASURED_SECONDS = 2.0  # after which no further step is measured


class Costs:
    """Seconds that runs take on this machine, from a few measured steps of each distinct model.

    What is measured once is not measured again. Runs that are partly done count in full, and a run that diverges early
    takes less: an upper bound but for noise, and for what compilation saves.

    Args:
        processes: That train each run together. On GPUs a step is taken to last as long as that of one process on its share of
            the batch; processes on the cores of one machine are as fast as one.
        sweeps: That share the runs, each training one at a time.
    """

    def __init__(self, processes: int = 1, sweeps: int = 1) -> None:
        self._processes = processes
        self._sweeps = sweeps
        self._data: dict[str, _Sizes] = {}
        self._measured: dict[str, tuple[float, float]] = {}
        self._refused: set[str] = set()
        self._unreadable: dict[str, UsageError] = {}  # data -> why they cannot be read

    def total(self, runs: Sequence[RunConfig]) -> float:
        """Seconds of all runs, one after the other."""
        return sum(map(self.of, runs))

    def left(self, runs: Sequence[RunConfig]) -> float:
        """Seconds until all runs have ended, as many at once as there are sweeps."""
        return max(self.total(runs) / self._sweeps, max(map(self.of, runs), default=0.0))

    def of(self, config: RunConfig) -> float:
        """Seconds of one run; 0 if its data cannot be read or its network cannot be built, as the sweep then says."""
        of_data = data_key(config)
        key = _step_key(config)
        variant = f"{config.init['name']} {key}"
        if of_data in self._unreadable or variant in self._refused:
            return 0.0
        if of_data not in self._data or key not in self._measured:
            try:
                data = _load(config, self._processes)
            except UsageError as error:
                self._unreadable[of_data] = error
                return 0.0
            self._data[of_data] = _Sizes(data.steps_per_epoch, data.splits)
            try:
                self._measured[key] = self._measured.get(key) or _seconds(config, data)
            except UsageError:
                self._refused.add(variant)
                return 0.0
        sizes = self._data[of_data]
        step, example = self._measured[key]
        steps = max(1, round(config.train.epochs * sizes.steps_per_epoch))
        return step * steps + example * _evaluated(config, sizes.splits)

    def require_data(self, runs: Sequence[RunConfig]) -> None:
        """Makes sure that the data of some of the runs can be read.

        Raises:
            UsageError: Why those of the first cannot, if none can.
        """
        self.total(runs)
        errors = [self._unreadable.get(data_key(config)) for config in runs]
        if errors and errors[0] and all(errors):
            raise errors[0]


@dataclass(frozen=True)
class _Sizes:
    steps_per_epoch: int
    splits: Mapping[str, int]


def announce(experiment: Experiment, plan: Plan, missing: Sequence[RunConfig], costs: Costs) -> None:
    """Prints the first lines of an experiment: its budget, its runs, and after measuring it the time they will take."""
    runs = [*plan.runs, *plan.later]
    budget = runs[0].budget
    asked = "budget" in map(key_of, experiment.overrides)
    why = "" if asked else " (there is a GPU)" if torch.cuda.is_available() else " (no GPU here)"
    searches = sum(config.phase == "tune" for config in runs)
    tuned = f" and {'at least ' if plan.waiting else ''}{searches} short ones that pick the recipe" if searches else ""
    left = f"{len(missing)} to do" if missing else "nothing to do"
    main = pluralize(len(runs) - searches, "run")
    console.print(f"{experiment.info.name}: budget {budget}{why}: {main}{tuned}; {left}", soft_wrap=True)
    if missing:
        costs.require_data(missing)
        console.print(f"By a few steps of each network here: about {clock_time(costs.left(missing))}", soft_wrap=True)


def forecast(experiment: Experiment, missing: Sequence[RunConfig], costs: Costs, before: Iterable[str]) -> Forecast:
    """A forecast of the time that the missing runs of an experiment will take.

    Args:
        experiment: What is begun.
        missing: Its runs that are not there.
        costs: What runs take here.
        before: Hashes of the runs in its archive.
    """
    main = experiment.main_runs({})
    return Forecast(
        grid=hashlib.sha256("".join(sorted(config.hash for config in main)).encode()).hexdigest()[:8],
        budget=main[0].budget,
        epochs=main[0].train.epochs,
        variants=tuple(experiment.grid.arms),
        runs=len(missing),
        seconds=float(f"{costs.total(missing):.3g}"),
        before=tuple(sorted(before)),
    )


def _load(config: RunConfig, processes: int) -> Batches:
    impl = config.impl
    device = impl.torch_device()
    shares = processes if device.type == "cuda" else 1
    workers = impl.workers_of(processes)
    return load_data(config, DataContext(config.paths.data, config.seed, device, 0, shares, impl.channels_last, workers))


def _step_key(config: RunConfig) -> str:
    """Equal for runs whose steps take about the same time: an initializer adds scalars at most, so it is left out."""
    data = {key: value for key, value in config.data.items() if key not in ("train_limit", "validation", "split_seed")}
    train = [config.train.precision, config.train.accumulate, config.train.clip_norm is None]
    settings = [config.model, data, config.optim["name"], train, config.impl.model_dump(mode="json")]
    return json.dumps(settings, sort_keys=True, default=str)


def _evaluated(config: RunConfig, splits: Mapping[str, int]) -> int:
    """Examples that a run evaluates, all evaluations together: a search run neither begins with one nor sees the test split."""
    times = math.ceil(config.train.epochs / config.train.evaluate_every)
    if config.phase == "tune":
        return times * splits.get("validation", 0)
    return (1 + times) * sum(count for split, count in splits.items() if split != "train")


def _seconds(config: RunConfig, data: Batches) -> tuple[float, float]:
    """Seconds of a training step, and of the evaluation of one example."""
    config.impl.set_num_threads()
    device = config.impl.torch_device()
    eager = config.model_copy(update={"train": config.train.model_copy(update={"compile": False})})
    learner = Learner(eager, Team(0, 1, device), data, CompiledNetworks())

    def evaluate(number: int) -> None:
        inputs, _ = data.train_batch(number)
        with torch.no_grad(), autocast(config, device):
            learner.network(*inputs)

    steps = data.steps_per_epoch
    return _time(lambda number: learner.update(number, steps), device), _time(evaluate, device) / data.batch_size


def _time(action: Callable[[int], Any], device: torch.device) -> float:
    """Seconds of an action: the median of some, without the first one, which allocates too, unless that took long."""
    seconds: list[float] = []
    while len(seconds) <= _MEASURED_STEPS and sum(seconds) < _MEASURED_SECONDS:
        started = time.perf_counter()
        action(len(seconds))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:] or seconds)
