"""The training loop: from a checked configuration to a finished run folder.

The state after a step is a function of the configuration and the step alone: data order, augmentation and dropout are drawn
from generators seeded by (seed, purpose, epoch or step). So a run that was killed at any step continues to the same bits.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from idinit.errors import UsageError

from ..config import RunConfig
from ..data import DATASETS, Batches, Inputs, Mixed, Place
from ..data.base import micro_batches
from ..errors import Preempted
from ..optim.optimizers import OPTIMIZERS, set_rate
from ..optim.schedules import SCHEDULES
from ..seeds import derive
from ..tracking.wandb_mirror import mirror_finished, mirrored, resolve_mode
from . import checkpoint
from .build import autocast, build
from .compile_cache import CompiledNetworks
from .distributed import Workers, workers
from .environment import describe
from .flops import count_flops
from .objective import Classification
from .preemption import stop_signals
from .progress import RunProgress, console
from .run_folder import FINISHED, RunFolder
from .start import describe_start
from .sync_batchnorm import convert_sync_batchnorm

log = logging.getLogger(__name__)

Status = dict[str, Any]
_SHORT = {"validation": "val"}  # a line of progress has 80 columns


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
                if team.main:
                    _answer_again(config, folder, status)
                    mirror_finished(folder.path, mode=config.wandb.mode, project=config.wandb.project)
                return status
            with stop_signals() as stop_asked:
                finished = Training(config, team, folder, compiled or CompiledNetworks(), stop_asked).run()
        if stop_asked.is_set():  # it came during the last step
            raise Preempted(f"{config.name} is finished")
        return finished


def _answer_again(config: RunConfig, folder: RunFolder, status: Status) -> None:
    """Says that a run is finished; it is not trained again.

    Raises:
        UsageError: If the data that are there now are others than those that it was trained on.
    """
    then = folder.environment().get("data_checksum")
    try:
        data = load_data(config, Place(config.paths.data, config.seed))
    except UsageError as error:
        log.warning("the data of run %s cannot be compared with what is there now: %s", config.name, error)
    else:
        if then != data.checksum:
            raise other_data(config, then, data, "finished")
    accuracies = [
        f"{_SHORT.get(s, s)} {100 * row['accuracy']:.1f} %" for s, row in status["final"].items() if row.get("accuracy")
    ]
    outcome = ", ".join(accuracies) or status.get("reason") or ""
    console.print(f"{config.name} is {status['state']} ({outcome}) and not trained again: {folder.path}", soft_wrap=True)


def load_data(config: RunConfig, place: Place) -> Batches:
    """The data of a run."""
    return DATASETS[config.entry("data")].build(place, **config.options("data"))


def other_data(config: RunConfig, then: str | None, data: Batches, what: str) -> UsageError:
    """The error of a run whose data have changed: where data lie is not in its hash."""
    return UsageError(
        f"run {config.name} was {what} on other data than {data.source} as it is now (checksum {str(then)[:8]}, "
        f"now {data.checksum[:8]}): bring the data back, or delete {config.folder} to start again"
    )


@dataclass
class _Meter:
    """Loss and accuracy since the last row of the train split."""

    loss: float = 0.0
    correct: float = 0.0
    answers: float = 0
    steps: int = 0

    def add(self, loss: float, correct: float, answers: float) -> None:
        self.loss += loss
        self.correct += correct
        self.answers += answers
        self.steps += 1

    def take(self) -> dict[str, float]:
        means = {"loss": self.loss / self.steps, "accuracy": self.correct / self.answers}
        self.__init__()  # type: ignore[misc]
        return means


class Training:
    """One run in training: what `train` sets up, step by step.

    Args:
        config: The run.
        team: The processes that train it.
        folder: Its folder, locked.
        compiled: Networks compiled before in this process.
        stop_asked: Set when the run should save itself and stop.
    """

    def __init__(
        self,
        config: RunConfig,
        team: Workers,
        folder: RunFolder,
        compiled: CompiledNetworks,
        stop_asked: threading.Event,
    ) -> None:
        config.require_whole_parts(team.world)
        self.config, self.team, self.folder, self.stop_asked = config, team, folder, stop_asked
        self.started = time.monotonic()
        place = Place(config.paths.data, config.seed, team.device, team.rank, team.world, config.impl.channels_last)
        self.data = load_data(config, place)
        # A search run never looks at the test split, so nothing can be picked on it.
        unseen = {"train"} if config.phase == "main" else {"train", "test"}
        self.splits = [split for split in self.data.splits if split not in unseen]
        self.per_epoch = self.data.steps_per_epoch
        self.steps = max(1, round(config.train.epochs * self.per_epoch))
        self.task = Classification(config.train.label_smoothing)
        model, _ = build(config, self.data)
        layout = torch.channels_last if config.impl.channels_last else torch.contiguous_format
        self.flops = count_flops(model, self.data.example_inputs())
        if team.world > 1 and config.train.sync_batchnorm:
            model = convert_sync_batchnorm(model, team.device)
        model.to(team.device, memory_format=layout)  # type: ignore[call-overload]
        self.network, self.forward = compiled.adopt(model, config.model) if config.train.compile else (model, model)
        self.averaged = team.wrap(self.forward)
        self.optimizer: Optimizer = OPTIMIZERS[config.optim["name"]].build(self.network, **config.options("optim"))
        self.meter = _Meter()
        self.last_rows: dict[str, dict[str, Any]] = {}
        self.seconds_before = 0.0  # of earlier sessions
        self.step = 0  # finished steps

    def run(self) -> Status:
        """Trains what is left; see `train`."""
        self._restore()
        if self.team.main:
            self.folder.write_config(self.config.to_yaml())
            self.folder.write_environment(self._environment())
            if self.step == 0 and resolve_mode(self.config.wandb.mode) != "disabled":
                describe_start(self.config, self.data, self.folder.path)
        wandb = self.config.wandb
        mirror = mirrored(self.folder.path, mode=wandb.mode, project=wandb.project) if self.team.main else nullcontext()
        with mirror:
            try:
                return self._loop()
            except Exception as error:
                if not isinstance(error, OSError):  # the disk would not take it
                    self._write_status("failed", error=f"{type(error).__name__}: {error}")
                raise

    def _loop(self) -> Status:
        config = self.config
        with RunProgress(config.name, self.step, self.steps, quiet=not self.team.main) as self.bar:
            self.clock = (self.step, time.monotonic())
            self._write_status("running")
            if self.step == 0 and config.phase == "main":
                self._evaluate()
            while self.step < self.steps:
                finite, stop = self.update()
                if not finite:
                    return self._finish("diverged", f"loss is not finite at step {self.step}")
                if self.step % config.train.log_every == 0 or self.step == self.steps:
                    self._row("train", self.meter.take())
                    self.clock = (self.step, time.monotonic())
                if self._evaluation_due():
                    self._evaluate()
                if stop and self.step < self.steps:
                    self._save()
                    self._write_status("preempted")
                    raise Preempted(f"{config.name} is saved at step {self.step} of {self.steps}")
                if self.step % config.impl.checkpoint_every == 0 or self.step == self.steps:
                    self._save()
                self.bar.step(self.step)
            if not all(math.isfinite(_loss_of(self.last_rows[split])) for split in self.splits):
                return self._finish("diverged", "loss is not finite after the last step")
            return self._finish("done")

    def update(self) -> tuple[bool, bool]:
        """Takes one step, unless the loss is not finite.

        Returns:
            Whether the loss is finite (if not, nothing was changed), and whether a process was asked to stop.
        """
        config = self.config
        set_rate(self.optimizer, SCHEDULES[config.schedule["name"]].build(self.step, self.steps, **config.options("schedule")))
        torch.manual_seed(derive(config.seed, "dropout", self.step, self.team.rank))
        sums = torch.zeros(4, device=self.team.device)  # loss, right answers, answers, processes asked to stop
        *early, last = micro_batches(*self.data.train_batch(self.step), config.train.accumulate)
        with self.team.no_exchange(self.averaged):
            for inputs, targets in early:
                self._loss(inputs, targets, sums).backward()
        loss = self._loss(*last, sums)
        sums[3] = float(self.stop_asked.is_set())
        total_loss, correct, answers, stop = self.team.total(sums).tolist()
        if not math.isfinite(total_loss):
            self.optimizer.zero_grad(set_to_none=True)
            return False, False
        loss.backward()
        if config.train.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), config.train.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.meter.add(total_loss / self.team.world, correct, answers)
        self.step += 1
        return True, stop > 0

    def _loss(self, inputs: Inputs, targets: Tensor | Mixed, sums: Tensor) -> Tensor:
        """This micro-batch's share of the step's loss, added up in ``sums`` with its answers."""
        with autocast(self.config, self.team.device):
            logits = self.averaged(*inputs)
        loss = self.task.loss(logits, targets) / self.config.train.accumulate
        with torch.no_grad():
            sums[:3] += torch.stack([loss, self.task.correct(logits, targets), self.task.answers(targets)])
        return loss

    @torch.no_grad()
    def _evaluate(self) -> None:
        self.network.eval()
        # Once for all batches, and not by the wrapped model: a process that has no batch would not take part.
        self.team.share_buffers(self.network)
        for split in self.splits:
            sums = torch.zeros(3, device=self.team.device, dtype=torch.float64)
            for inputs, targets in self.data.evaluation_batches(split):
                with autocast(self.config, self.team.device):
                    logits = self.forward(*inputs)
                sums[0] += Classification().loss(logits, targets) * len(targets)
                sums[1] += self.task.correct(logits, targets)
                sums[2] += len(targets)
            loss, correct, count = self.team.total(sums).tolist()
            self._row(split, {"loss": loss / count, "accuracy": correct / count})
        self.network.train()
        self.clock = (self.step, time.monotonic())  # evaluation does not count as training time
        accuracies = [f"{_SHORT.get(s, s)} {100 * self.last_rows[s]['accuracy']:.1f} %" for s in self.splits]
        self.bar.say(self.step, "  ".join([f"epoch {self.step / self.per_epoch:.2f}", *accuracies]))

    def _evaluation_due(self) -> bool:
        """Whether the last step ended a span of ``evaluate_every`` epochs, rounded up to a step, or the run."""
        every = self.config.train.evaluate_every * self.per_epoch
        return self.step == self.steps or math.floor(self.step / every) > math.floor((self.step - 1) / every)

    def _row(self, split: str, values: dict[str, float]) -> None:
        since, then = self.clock
        trained = (self.step - since) * self.data.batch_size
        row = {
            "step": self.step,
            "epoch": self.step / self.per_epoch,
            "split": split,
            **values,
            "lr": self.optimizer.param_groups[0]["lr"],
            "samples_per_s": trained / (time.monotonic() - then) if split == "train" else None,
        }
        self.last_rows[split] = row
        if self.team.main:
            self.folder.append(row)

    def _environment(self) -> dict[str, Any]:
        return {
            **describe(self.team.device),
            "data_source": self.data.source,
            "data_checksum": self.data.checksum,
            **self.data.facts,
            "processes": self.team.world,
        }

    def _save(self) -> None:
        if not self.team.main:
            return
        self.folder.sync()
        state = {
            "hash": self.config.hash,
            "step": self.step,
            "model": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "meter": vars(self.meter),
            "data": self.data.state_dict(),
            "data_checksum": self.data.checksum,
        }
        checkpoint.save(self.folder.checkpoints, self.step, state)
        self._write_status("running")  # keeps the time spent; a checkpoint is the same bytes however often it was resumed

    def _restore(self) -> None:
        state = self.team.broadcast(checkpoint.load_latest(self.folder.checkpoints) if self.team.main else None)
        if isinstance(state, dict):
            self._require_same_data(state)
            self.network.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.meter = _Meter(**state["meter"])
            self.data.load_state_dict(state["data"])
            self.step = state["step"]
        if self.team.main:
            self.seconds_before = (self.folder.status() or {}).get("time_s", 0.0)
            # Without a checkpoint the run starts anew, its evaluation at step 0 included.
            self.last_rows = {row["split"]: row for row in self.folder.rewind(self.step or -1)}

    def _require_same_data(self, state: dict[str, Any]) -> None:
        """Refuses other data, as old rows of an embedding would meet other words: where data lie is not in a run's hash."""
        now = self.data.checksum
        then = state.get("data_checksum", now)  # checkpoints of earlier versions have none
        if then != now:
            raise other_data(self.config, then, self.data, "begun")

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def _finish(self, state: str, reason: str | None = None) -> Status:
        self.bar.say(self.step, reason or "done")
        return self._write_status(state, reason=reason)

    def _write_status(self, state: str, *, reason: str | None = None, error: str | None = None) -> Status:
        status = {
            "state": state,
            "hash": self.config.hash,
            "step": self.step,
            "steps": self.steps,
            "epoch": self.step / self.per_epoch,
            "time_s": self._seconds(),
            "tokens": self.data.tokens_per_step and self.step * self.data.tokens_per_step,
            "flops": self.flops and self.step * self.data.batch_size * self.flops,
            "final": self.last_rows,
            "reason": reason,
            "error": error,
        }
        if self.team.main:
            self.folder.write_status(status)
        return status


def _loss_of(row: dict[str, Any]) -> float:
    """The loss of a row of metrics, of which the file keeps null for one that is not finite."""
    return math.nan if row["loss"] is None else row["loss"]
