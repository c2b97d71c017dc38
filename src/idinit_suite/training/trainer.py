"""The training loop: from a checked configuration to a finished run folder.

The state after a step is a function of the configuration and the step alone: data order, augmentation and dropout are drawn
from generators seeded by (seed, purpose, epoch or step). So a run that was killed at any step continues to the same bits.

A step only queues work on the device. The host waits for it every ``impl.check_every`` steps, and where a row of metrics, an
evaluation or a checkpoint is due. A loss that is not finite has by then changed no weight: the optimizer is told on the device.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import torch

from idinit.errors import UsageError

from ..config import RunConfig
from ..data import DataContext
from ..errors import LostProcess, Preempted, RunLocked, in_one_line
from ..tracking.wandb_follower import LAYERS
from ..tracking.wandb_mirror import mirror_finished, mirrored, resolve_mode
from . import checkpoint
from .build import load_data
from .compile_cache import CompiledNetworks
from .debugging import debugging
from .distributed import Team, join_team, lost_process
from .environment import describe
from .evaluation import Evaluator
from .finished import changed_data, say_finished
from .host_memory import keep_freed_memory
from .layers import LayerStatistics
from .learner import Learner
from .precision import configure_backends, rounds_products
from .preemption import stop_signals
from .progress import RunProgress, in_percent
from .run_folder import FINISHED, RunFolder
from .start import describe_start
from .status import Status, StatusWriter
from .step_sums import is_finite


def train(config: RunConfig, compiled: CompiledNetworks | None = None) -> Status:
    """Trains one run, or what is left of it.

    Args:
        config: The run.
        compiled: Networks compiled by earlier runs of this process, to be used again.

    Returns:
        The content of ``status.json``; its ``state`` is ``done`` or ``diverged``.

    Raises:
        UsageError: If the request is invalid.
        Preempted: If SIGTERM or SIGINT came; the run is saved and continues when it is started again.
        LostProcess: If another process of the run has ended.
        OSError: If the disk is full or read-only; the last checkpoint is intact.
    """
    config.impl.set_num_threads()
    configure_backends(config)
    if config.impl.torch_device().type == "cpu":
        keep_freed_memory()
    with join_team(config.impl.torch_device()) as team, _memory_errors(config):
        folder = RunFolder(config.folder)
        with _locked(folder, team):
            status = team.broadcast(folder.status() if team.is_main_process else None)
            if isinstance(status, dict) and status["state"] in FINISHED:
                if team.is_main_process:
                    say_finished(config, folder, status)
                    mirror_finished(folder.path, mode=config.wandb.mode, project=config.wandb.project)
                return status
            with stop_signals() as stop_requested, debugging(config):
                finished = Training(config, team, folder, compiled or CompiledNetworks(), stop_requested).run()
        if stop_requested.is_set():  # it came during the last step
            raise Preempted(f"{config.name} is finished, no other run was begun")
        return finished


@contextmanager
def _locked(folder: RunFolder, team: Team) -> Iterator[None]:
    """Locks a run's folder in the process that writes it; if that fails, all raise, so that none waits for it."""
    with ExitStack() as stack:
        refusal: Exception | None = None
        if team.is_main_process:
            try:
                stack.enter_context(folder)
            except (RunLocked, OSError) as error:
                refusal = error
        if (refusal := team.broadcast(refusal)) is not None:
            raise refusal
        yield


@contextmanager
def _memory_errors(config: RunConfig) -> Iterator[None]:
    """Says in one line that a run needs more memory than there is."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        raise UsageError(
            f"run {config.name} does not fit into memory: choose a smaller network, pass each batch in more parts "
            "(train.accumulate), keep fewer activations (impl.checkpoint_activations=true), or share it out over several "
            "processes (impl.fsdp=true)"
        ) from error


class Training:
    """One run in training: what `train` sets up, step by step.

    Args:
        config: The run.
        team: The processes that train it.
        folder: Its folder, locked.
        compiled: Networks compiled before in this process.
        stop_requested: Set when the run should save itself and stop.
    """

    def __init__(
        self,
        config: RunConfig,
        team: Team,
        folder: RunFolder,
        compiled: CompiledNetworks,
        stop_requested: threading.Event,
    ) -> None:
        if config.processes not in (1, team.world_size):
            raise UsageError(
                f"run {config.name} is one of {config.processes} processes: "
                f"start it by torchrun --nproc-per-node={config.processes}, or leave launcher.processes to sweeps"
            )
        config.require_whole_parts(team.world_size)
        self.config, self.team, self.folder, self.stop_requested = config, team, folder, stop_requested
        impl = config.impl
        workers = impl.workers_of(team.local_world_size)
        context = DataContext(
            config.paths.data, config.seed, team.device, team.rank, team.world_size, impl.channels_last, workers
        )
        data = load_data(config, context)
        self.learner = Learner(config, team, data, compiled)
        # A search run never looks at the test split, so nothing can be picked on it.
        unseen = {"train"} if config.phase == "main" else {"train", "test"}
        self.evaluate = Evaluator(config, team, data, [split for split in data.splits if split not in unseen])
        self.measure = LayerStatistics(config, data, team.device) if config.diagnostics.every and team.is_main_process else None
        self.per_epoch = data.steps_per_epoch
        self.steps = max(1, round(config.train.epochs * self.per_epoch))
        if self.steps > checkpoint.MOST_STEPS:
            raise UsageError(
                f"train.epochs={config.train.epochs:g} are {self.steps:,} steps: at most {checkpoint.MOST_STEPS:,}"
            )
        self.step = 0  # finished steps
        self.last_rows: dict[str, dict[str, Any]] = {}
        self.status = StatusWriter(
            folder if team.is_main_process else None,
            config.hash,
            steps=self.steps,
            steps_per_epoch=self.per_epoch,
            tokens=data.tokens_per_step,
            flops=self.learner.flops,
        )

    def run(self) -> Status:
        """Trains what is left; see `train`."""
        with self._failures_in_status():
            self._restore()
        if self.team.is_main_process:
            self.folder.write_config(self.config.to_yaml())
            self.folder.write_environment(self._environment())
            if self.step == 0 and resolve_mode(self.config.wandb.mode) != "disabled":
                describe_start(self.config, self.learner.data, self.folder.path)
        wandb = self.config.wandb
        mirror = (
            mirrored(self.folder.path, mode=wandb.mode, project=wandb.project) if self.team.is_main_process else nullcontext()
        )
        with mirror, self._failures_in_status():
            return self._loop()

    @contextmanager
    def _failures_in_status(self) -> Iterator[None]:
        """Writes an error into the status, except where the disk failed or another process holds the run."""
        try:
            yield
        except (OSError, RunLocked):
            raise
        except Exception as error:
            lost = lost_process(error, self.config.name, self.team.world_size)
            cause = lost or error
            reason = str(cause) if isinstance(cause, UsageError | LostProcess) else f"{type(cause).__name__}: {cause}"
            self._write_status("failed", error=reason)
            if lost:
                raise lost from error
            raise

    def _loop(self) -> Status:
        config = self.config
        with RunProgress(config.name, self.step, self.steps, quiet=not self.team.is_main_process) as self.bar:
            self.clock = (self.step, time.monotonic())
            self._write_status("running")
            if self.step == 0 and config.phase == "main":
                self._evaluate()
            if self.step == 0:
                self._measure()
            known = self.step  # steps of which it is known what came of them
            while self.step < self.steps:
                self.update()
                self.bar.step(self.step)
                if not self._reading_due():
                    continue
                reading = self.learner.sums.read()
                known += reading.finite
                if reading.diverged:
                    self.step = known
                    self._measure()  # of the last weights that were finite
                    return self._finish("diverged", f"loss is not finite at step {self.step}")
                self._log()
                if self.team.any(self.stop_requested.is_set()) and self.step < self.steps:
                    self._save()
                    self._write_status("preempted")
                    raise Preempted(f"{config.name} is saved at step {self.step} of {self.steps}")
                if self._is_due_every(config.impl.checkpoint_every):
                    self._save()
            if not all(is_finite(self.last_rows[split]["loss"]) for split in self.evaluate.splits):
                return self._finish("diverged", "loss is not finite after the last step")
            return self._finish("done")

    def update(self) -> None:
        """Takes one step; see `Learner.update`."""
        self.learner.update(self.step, self.steps)
        self.step += 1

    def _is_due_every(self, steps: int) -> bool:
        return self.step % steps == 0 or self.step == self.steps

    def _evaluation_due(self) -> bool:
        """Whether the last step ended a span of ``evaluate_every`` epochs, rounded up to a step, or the run."""
        every = self.config.train.evaluate_every * self.per_epoch
        return self.step == self.steps or math.floor(self.step / every) > math.floor((self.step - 1) / every)

    def _reading_due(self) -> bool:
        """Whether the host needs to know what came of the steps: at the same steps in all processes."""
        train, impl = self.config.train, self.config.impl
        spans = (impl.check_every, train.log_every, impl.checkpoint_every, self.config.diagnostics.every)
        due = any(self._is_due_every(steps) for steps in spans if steps) or self._evaluation_due()
        return due or (self.team.world_size == 1 and self.stop_requested.is_set())

    def _log(self) -> None:
        """Writes the rows of metrics that are due."""
        if self._is_due_every(self.config.train.log_every):
            self._row("train", self.learner.sums.take())
            self.clock = (self.step, time.monotonic())
        if self._evaluation_due():
            self._evaluate()
        if self.config.diagnostics.every and self._is_due_every(self.config.diagnostics.every):
            self._measure()

    def _measure(self) -> None:
        """Writes the statistics of the layers, where they are asked for."""
        if self.measure is not None:
            place = {"step": self.step, "epoch": self.step / self.per_epoch, "split": LAYERS}
            self.folder.append({**place, **self.measure(self.learner.network)})
            self.clock = (self.step, time.monotonic())  # as little as evaluation

    def _evaluate(self) -> None:
        rows = self.evaluate(self.learner.network, self.learner.compiled_model)
        if (average := self.learner.average) is not None:
            for split, values in self.evaluate(average, average).items():
                rows[split] |= {f"ema_{name}": value for name, value in values.items()}
        for split, values in rows.items():
            self._row(split, values)
        self.clock = (self.step, time.monotonic())  # evaluation does not count as training time
        accuracies = in_percent({split: self.last_rows[split] for split in self.evaluate.splits})
        self.bar.say(self.step, f"epoch {self.step / self.per_epoch:.2f}  {accuracies}")

    def _row(self, split: str, values: dict[str, float]) -> None:
        since, then = self.clock
        trained = (self.step - since) * self.learner.data.batch_size
        row = {
            "step": self.step,
            "epoch": self.step / self.per_epoch,
            "split": split,
            **values,
            "lr": self.learner.optimizer.param_groups[0]["lr"],
            "samples_per_s": trained / (time.monotonic() - then) if split == "train" else None,
        }
        self.last_rows[split] = row
        if self.team.is_main_process:
            self.folder.append(row)

    def _environment(self) -> dict[str, Any]:
        return {
            **describe(self.team.device),
            "data_source": self.learner.data.source,
            "data_checksum": self.learner.data.checksum,
            **self.learner.data.facts,
            "processes": self.team.world_size,
            **({"bfloat16": "by rounding"} if rounds_products(self.config, self.team.device) else {}),
        }

    def _save(self) -> None:
        learned = self.learner.state_dict()
        if not self.team.is_main_process:
            return
        state = {
            "hash": self.config.hash,
            "step": self.step,
            **learned,
            "data_checksum": self.learner.data.checksum,
            "rows": self.folder.sync(),
        }
        checkpoint.save(self.folder.checkpoints, self.step, state)
        self._write_status("running")  # keeps the time spent; a checkpoint is the same bytes however often it was resumed

    def _restore(self) -> None:
        state = self.team.broadcast(checkpoint.load_latest(self.folder.checkpoints) if self.team.is_main_process else None)
        if isinstance(state, dict):
            self.step = state["step"]
            self._load(state)
        if self.team.is_main_process:
            # Without a checkpoint the run starts anew, its evaluation at step 0 included.
            rows = self.folder.rewind(self.step or -1, (state or {}).get("rows"))
            self.last_rows = {row["split"]: row for row in rows if row["split"] != LAYERS}
        self.last_rows = self.team.broadcast(self.last_rows)

    def _load(self, state: dict[str, Any]) -> None:
        data = self.learner.data
        # Old rows of an embedding would meet other words; checkpoints of earlier versions have no checksum.
        if (then := state.get("data_checksum", data.checksum)) != data.checksum:
            raise changed_data(self.config, then, data, "begun")
        try:
            self.learner.load_state_dict(state)
        except (RuntimeError, ValueError, KeyError) as error:
            problem = in_one_line(error)
            raise UsageError(
                f"run {self.config.name} was begun by other code: its checkpoint does not fit what this code builds "
                f"({problem}): go back to that code, or delete {self.folder.path} to start again"
            ) from error

    def _finish(self, state: str, reason: str | None = None) -> Status:
        self.bar.say(self.step, reason or "done")
        return self._write_status(state, reason=reason)

    def _write_status(self, state: str, **why: str | None) -> Status:
        return self.status.write(state, self.step, self.last_rows, **why)
