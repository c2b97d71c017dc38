"""The training loop: from a checked configuration to a finished run folder.

The state after a step is a function of the configuration and the step alone: data order, augmentation and dropout are drawn
from generators seeded by (seed, purpose, epoch or step). So a run that was killed at any step continues to the same bits.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..config import RunConfig
from ..data import DATASETS, Batches
from ..errors import Preempted
from ..initialize import Report, initialize_
from ..models import MODELS
from ..seeds import derive, generator
from . import checkpoint
from .compiled import CompiledNetworks
from .distributed import Workers, workers
from .environment import describe
from .optim import OPTIMIZERS, set_rate
from .progress import RunProgress
from .run_folder import FINISHED, RunFolder
from .schedule import SCHEDULES
from .signals import stop_signals
from .task import Classification
from .wandb_mirror import mirrored

Status = dict[str, Any]


def train(config: RunConfig, compiled: CompiledNetworks | None = None) -> Status:
    """Trains one run, or what is left of it.

    Args:
        config: The run.
        compiled: Networks compiled by earlier runs of this process, to be used again.

    Returns:
        The content of ``status.json``; its ``state`` is ``done`` or ``diverged``.

    Raises:
        UsageError: If what was asked cannot be done.
        Preempted: If SIGTERM or SIGINT came; the run is saved and continues when it is started again.
        OSError: If the disk is full or read-only; the last checkpoint is intact.
    """
    if config.impl.threads is not None:
        torch.set_num_threads(config.impl.threads)
    with workers(config.impl.torch_device()) as team:
        folder = RunFolder(config.folder)
        with folder if team.main else nullcontext():
            status = team.broadcast(folder.status() if team.main else None)
            if isinstance(status, dict) and status["state"] in FINISHED:
                return status
            with stop_signals() as stop_asked:
                return _Training(config, team, folder, compiled or CompiledNetworks(), stop_asked).run()


def build(config: RunConfig, data: Batches) -> tuple[nn.Module, Report]:
    """The network of a run on the CPU, initialized."""
    model = MODELS[config.model["name"]].build(data.input_shape, data.num_classes, **config.options("model"))
    report = initialize_(
        model,
        config.init["name"],
        example_inputs=tuple(inputs.cpu() for inputs in data.example_inputs()),
        generator=generator(config.seed, "init"),
        **config.options("init"),
    )
    return model, report


def autocast(config: RunConfig, device: torch.device) -> torch.autocast:
    """The precision of a run's forward passes, as a context."""
    return torch.autocast(device.type, torch.bfloat16, enabled=config.impl.precision == "bf16")


@dataclass
class _Meter:
    """Loss and accuracy since the last row of the train split."""

    loss: float = 0.0
    correct: float = 0.0
    samples: int = 0
    steps: int = 0

    def add(self, loss: float, correct: float, samples: int) -> None:
        self.loss += loss
        self.correct += correct
        self.samples += samples
        self.steps += 1

    def take(self) -> dict[str, float]:
        means = {"loss": self.loss / self.steps, "accuracy": self.correct / self.samples}
        self.__init__()  # type: ignore[misc]
        return means


@dataclass
class _Training:
    config: RunConfig
    team: Workers
    folder: RunFolder
    compiled: CompiledNetworks
    stop_asked: threading.Event
    meter: _Meter = field(default_factory=_Meter)
    last_rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds_before: float = 0.0  # of earlier sessions
    first_step: int = 0

    def run(self) -> Status:
        config, team = self.config, self.team
        self.data: Batches = DATASETS[config.data["name"]].build(
            config.paths.data,
            config.seed,
            team.device,
            rank=team.rank,
            world=team.world,
            channels_last=config.impl.channels_last,
            **config.options("data"),
        )
        # A search run never looks at the test split, so nothing can be picked on it.
        unseen = {"train"} if config.phase == "main" else {"train", "test"}
        self.splits = [split for split in self.data.splits if split not in unseen]
        self.per_epoch = self.data.steps_per_epoch
        self.steps = max(1, round(config.train.epochs * self.per_epoch))
        self.task = Classification(config.train.label_smoothing)
        model, self.report = build(config, self.data)
        layout = torch.channels_last if config.impl.channels_last else torch.contiguous_format
        model.to(team.device, memory_format=layout)  # type: ignore[call-overload]
        self.network, self.forward = self._forward(model)
        self.optimizer: Optimizer = OPTIMIZERS[config.optim["name"]].build(self.network, **config.options("optim"))
        set_rate(self.optimizer, 1.0)
        self.started = time.monotonic()
        self._restore()
        if team.main:
            self.folder.write_config(config.to_yaml())
            self.folder.write_environment(self._environment())
        wandb = config.wandb
        mirror = mirrored(self.folder.path, mode=wandb.mode, project=wandb.project) if team.main else nullcontext()
        try:
            with mirror:
                return self._loop()
        except (Exception, KeyboardInterrupt) as error:
            if team.main and not isinstance(error, OSError):
                self._write_status("failed", self.step, error=f"{type(error).__name__}: {error}")
            raise

    def _loop(self) -> Status:
        config = self.config
        with RunProgress(config.name, self.first_step, self.steps, quiet=not self.team.main) as self.bar:
            self.clock = (self.first_step, time.monotonic())
            self._write_status("running", self.first_step)
            if self.first_step == 0 and config.phase == "main":
                self._evaluate(0)
            for self.step in range(self.first_step, self.steps):
                finite, stop = self._update(self.step)
                if not finite:
                    return self._finish("diverged", self.step, reason=f"loss is not finite at step {self.step}")
                done = self.step + 1
                if done % config.train.log_every == 0 or done == self.steps:
                    self._log_train(done)
                if self._evaluates_at(done):
                    self._evaluate(done)
                if done == self.steps:
                    break
                if stop:
                    self._save(done)
                    self._write_status("preempted", done)
                    raise Preempted(f"{config.name} is saved at step {done} of {self.steps}")
                if done % config.impl.checkpoint_every == 0:
                    self._save(done)
                self.bar.step(done)
            self._save(self.steps)
            return self._finish("done", self.steps)

    def _update(self, step: int) -> tuple[bool, bool]:
        """One step. Returns whether the loss is finite (else nothing was changed) and whether to stop after it."""
        config = self.config
        set_rate(self.optimizer, self._rate(step))
        torch.manual_seed(derive(config.seed, "dropout", step, self.team.rank))
        inputs, targets = self.data.train_batch(step)
        with autocast(config, self.team.device):
            logits = self.forward(inputs)
        loss = self.task.loss(logits, targets)
        with torch.no_grad():
            stop_asked = torch.tensor(float(self.stop_asked.is_set()), device=loss.device)
            sums = torch.stack([loss.detach(), self.task.correct(logits, targets), stop_asked])
            mean_loss, correct, stop = self.team.total(sums).tolist()
        if not math.isfinite(mean_loss):
            return False, False
        loss.backward()
        if config.train.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), config.train.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.meter.add(mean_loss / self.team.world, correct, self.data.batch_size)
        return True, stop > 0

    @torch.no_grad()
    def _evaluate(self, step: int) -> None:
        config = self.config
        self.network.eval()
        for split in self.splits:
            sums = torch.zeros(3, device=self.team.device, dtype=torch.float64)
            for inputs, targets in self.data.evaluation_batches(split):
                with autocast(config, self.team.device):
                    logits = self.forward(inputs)
                sums[0] += Classification().loss(logits, targets) * len(targets)
                sums[1] += self.task.correct(logits, targets)
                sums[2] += len(targets)
            loss, correct, count = self.team.total(sums).tolist()
            self._row(split, step, {"loss": loss / count, "accuracy": correct / count})
        self.network.train()
        self.clock = (step, time.monotonic())  # evaluation does not count as training time
        shown = "  ".join(f"{s} {100 * self.last_rows[s]['accuracy']:.1f} %" for s in self.splits)
        self.bar.say(step, f"epoch {step / self.per_epoch:.2f}  {shown}")

    def _log_train(self, step: int) -> None:
        self._row("train", step, self.meter.take())
        self.clock = (step, time.monotonic())

    def _row(self, split: str, step: int, values: dict[str, float]) -> None:
        since, then = self.clock
        speed = (step - since) * self.data.batch_size / max(time.monotonic() - then, 1e-9) if step > since else None
        row = {
            "step": step,
            "epoch": step / self.per_epoch,
            "split": split,
            **values,
            "lr": self.optimizer.param_groups[0]["lr"],
            "samples_per_s": speed if split == "train" else None,
        }
        self.last_rows[split] = row
        if self.team.main:
            self.folder.append(row)

    def _rate(self, step: int) -> float:
        schedule = self.config.schedule
        return SCHEDULES[schedule["name"]].build(step, self.steps, **self.config.options("schedule"))

    def _evaluates_at(self, step: int) -> bool:
        """Whether an evaluation falls due: at every ``evaluate_every`` epochs, rounded to a step, and at the end."""
        every = self.config.train.evaluate_every * self.per_epoch
        return step == self.steps or math.floor(step / every) > math.floor((step - 1) / every)

    def _forward(self, model: nn.Module) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
        if self.config.impl.compile:
            network, forward = self.compiled.adopt(model)
            return network, self.team.wrap(forward)
        return model, self.team.wrap(model)

    def _environment(self) -> dict[str, Any]:
        impl = self.config.impl
        return {
            **describe(self.team.device),
            "data_source": self.data.source,
            "data_checksum": self.data.checksum,
            "processes": self.team.world,
            "precision": impl.precision,
            "compile": impl.compile,
        }

    def _save(self, step: int) -> None:
        if not self.team.main:
            return
        self.folder.sync()
        state = {
            "hash": self.config.hash,
            "step": step,
            "model": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "meter": vars(self.meter),
            "seconds": self._seconds(),
        }
        checkpoint.save(self.folder.checkpoints, step, state)

    def _restore(self) -> None:
        state = checkpoint.load_latest(self.folder.checkpoints) if self.team.main else None
        state = self.team.broadcast(state)
        if isinstance(state, dict):
            self.network.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.meter = _Meter(**state["meter"])
            self.seconds_before = state["seconds"]
            self.first_step = state["step"]
        self.step = self.first_step
        if self.team.main:
            # Before the first checkpoint there is nothing to keep: step 0 is evaluated again.
            self.last_rows = {row["split"]: row for row in self.folder.rewind(self.first_step or -1)}

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def _finish(self, state: str, step: int, reason: str | None = None) -> Status:
        self.bar.say(step, reason or "done")
        return self._write_status(state, step, reason=reason)

    def _write_status(self, state: str, step: int, *, reason: str | None = None, error: str | None = None) -> Status:
        status = {
            "state": state,
            "hash": self.config.hash,
            "step": step,
            "steps": self.steps,
            "epoch": step / self.per_epoch,
            "time_s": self._seconds(),
            "final": dict(self.last_rows),
            "reason": reason,
            "error": error,
        }
        if self.team.main:
            self.folder.write_status(status)
        return status
