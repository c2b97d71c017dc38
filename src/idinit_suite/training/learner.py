"""A network in training: its steps, and its state in a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..config import RunConfig
from ..data import Batches, Inputs, Mixed
from ..data.base import micro_batches
from ..optim.optimizers import OPTIMIZERS, set_rate
from ..optim.schedules import SCHEDULES
from ..seeds import derive
from .build import build
from .checkpoint_activations import checkpoint_activations
from .compile_cache import CompiledNetworks
from .distributed import Team
from .flops import count_flops
from .objective import Classification
from .precision import autocast, compile_options, gradient_scaler, replaced_functions
from .sharding import is_sharded, load_state, load_weights, require_shardable, shard, whole_state, whole_weights
from .step_sums import StepSums
from .sync_batchnorm import convert_sync_batchnorm


class Learner:
    """The network of a run with its optimizer.

    Attributes:
        data: The batches.
        network: The network whose weights are trained.
        compiled_model: The same weights as they are called: compiled, if the run says so.
        optimizer: Over its parameters.
        sums: Loss and accuracy of its steps.
        flops: Of a step over all processes; None where they cannot be counted.
    """

    def __init__(self, config: RunConfig, team: Team, data: Batches, compiled: CompiledNetworks) -> None:
        """Builds and initializes the network.

        Args:
            config: The run.
            team: The processes that train it.
            data: What it is trained on.
            compiled: Networks compiled before in this process.

        Raises:
            UsageError: If the network cannot be built or initialized as asked.
        """
        self.data = data
        self._config, self._team = config, team
        self._task = Classification(config.train.label_smoothing)
        model, _ = build(config, data)
        layout = torch.channels_last if config.impl.channels_last else torch.contiguous_format
        flops = count_flops(model, data.example_inputs())
        self.flops = flops and flops * data.batch_size
        if team.world_size > 1 and config.train.sync_batchnorm:
            model = convert_sync_batchnorm(model, team.device)
        impl = config.impl
        if impl.checkpoint_activations:
            checkpoint_activations(model, partial(replaced_functions, config, team.device))
        if is_sharded(config, team):
            require_shardable(config, model)
            shard(model, team.device)
        else:
            model.to(team.device, memory_format=layout)  # type: ignore[call-overload]
        options = {**config.model, "checkpoint_activations": impl.checkpoint_activations}
        self.network, self.compiled_model = (
            compiled.get_or_compile(model, options, compile_options(config, team.device))
            if config.train.compile
            else (model, model)
        )
        self._ddp_model = self.compiled_model if is_sharded(config, team) else team.wrap(self.compiled_model)
        self.optimizer = OPTIMIZERS[config.optim["name"]].build(self.network, **config.options("optim"))
        self._scaler = gradient_scaler(config, team.device)
        self._ema = None
        if config.train.ema is not None:
            from timm.utils import ModelEmaV3  # takes seconds to import

            self._ema = ModelEmaV3(self.network, config.train.ema)
        self.sums = StepSums(team.device)

    @property
    def average(self) -> nn.Module | None:
        """The network with an exponential moving average of its weights and buffers; None if the run has none."""
        return None if self._ema is None else self._ema.module

    def update(self, step: int, steps: int) -> None:
        """Takes a step, which changes no weight if its loss or that of an earlier one is not finite; waits for no result.

        Args:
            step: Its number from 0.
            steps: Of the whole run.
        """
        config, team = self._config, self._team
        set_rate(self.optimizer, SCHEDULES[config.schedule["name"]].build(step, steps, **config.options("schedule")))
        torch.manual_seed(derive(config.seed, "dropout", step, team.rank))
        sums = torch.zeros(3, device=team.device)  # loss, right answers, answers
        *early, last = micro_batches(*self.data.train_batch(step), config.train.accumulate)
        with team.no_sync(self._ddp_model):
            for inputs, targets in early:
                self._scaler.scale(self._loss(inputs, targets, sums)).backward()
        loss = self._loss(*last, sums)
        total = team.all_reduce_sum(sums).double()
        total[0] /= team.world_size
        self.sums.add(total)
        if self._scaler.is_enabled():  # it leaves out a step whose gradients are not finite, and has a flag of its own
            loss = loss * torch.where(self.sums.found_inf > 0, torch.nan, 1.0)
        else:
            self.optimizer.found_inf = self.sums.found_inf  # type: ignore[attr-defined]
        self._scaler.scale(loss).backward()
        if config.train.clip_norm is not None:
            self._scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), config.train.clip_norm)
        self._scaler.step(self.optimizer)
        self._scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self._ema is not None:
            self._ema.update(self.network, step + 1)

    def _loss(self, inputs: Inputs, targets: Tensor | Mixed, sums: Tensor) -> Tensor:
        """This micro-batch's share of the step's loss, added up in ``sums`` with its answers."""
        with autocast(self._config, self._team.device):
            logits = self._ddp_model(*inputs)
        loss = self._task.loss(logits, targets) / self._config.train.accumulate
        with torch.no_grad():
            sums += torch.stack([loss, self._task.correct(logits, targets), self._task.answers(targets)])
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values, up to the last reading of the sums; all must ask, and the first process has them whole."""
        return {
            **({"average": self.average.state_dict()} if self.average is not None else {}),
            "model": whole_weights(self.network),
            "optimizer": whole_state(self.optimizer),
            "scaler": self._scaler.state_dict(),
            "meter": self.sums.state_dict(),
            "data": self.data.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` gave.

        Raises:
            RuntimeError: If it is the state of another network.
            ValueError: If it is the state of another optimizer.
        """
        load_weights(self.network, state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        load_state(self.optimizer, state["optimizer"])
        self._scaler.load_state_dict(state.get("scaler", {}))
        self.sums.load_state_dict(state["meter"])
        self.data.load_state_dict(state["data"])
