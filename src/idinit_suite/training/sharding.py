"""Weights, gradients and the optimizer's state shared out over the processes of a run: torch's FSDP2 (Zhao et al. 2023).

Each process holds its part of every tensor, and all gather a block's weights when it computes. Outside, in checkpoints, tensors
are whole: a run goes on with or without sharding, and with any number of processes.

What torch has for this takes a second to import, so it is imported where it is used.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from idinit.errors import UsageError

from ..config import RunConfig
from .checkpoint_activations import repeated_blocks
from .distributed import Team


def is_sharded(config: RunConfig, team: Team) -> bool:
    """Whether each process of a run holds a part of its weights."""
    return config.impl.fsdp and team.world_size > 1


def require_shardable(config: RunConfig, model: nn.Module) -> None:
    """Makes sure that a run can be sharded.

    Raises:
        UsageError: If it asks for what is made for whole weights, or if a weight is a number without a dimension.
    """
    whole = {
        "train.compile": config.train.compile,
        "train.ema": config.train.ema is not None,
        "train.precision=fp16": config.train.precision == "fp16",
        "diagnostics.every": config.diagnostics.every is not None,
        "optim=sgd (adamw and adam can)": config.optim["name"] == "sgd",  # torch has no fused kernel of it for parts
    }
    if asked := [what for what, is_asked in whole.items() if is_asked]:
        raise UsageError(f"impl.fsdp=true: weights in parts cannot be trained with {', '.join(asked)}: leave one of them out")
    if numbers := [name for name, weight in model.named_parameters() if not weight.dim()]:
        raise UsageError(f"impl.fsdp=true: '{numbers[0]}' is a number without a dimension, which FSDP cannot share out")


def shard(model: nn.Module, device: torch.device) -> None:
    """Shares out a network on the CPU: on the device there is never more than a block of it as a whole."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    # It is about logits that are a view of something and are changed in place, which no loss does.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view")
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for module in (*repeated_blocks(model), model):
        fully_shard(module, mesh=mesh)


def whole_weights(network: nn.Module) -> dict[str, Any]:
    """``network.state_dict()`` of whole tensors, None in their place but in the first process; all must ask for it."""
    state = network.state_dict()
    for name, value in state.items():
        state[name] = _whole(value)
    return state


def whole_state(optimizer: Optimizer) -> dict[str, Any]:
    """``optimizer.state_dict()`` of whole tensors, None in their place but in the first process; all must ask for it."""
    state = optimizer.state_dict()
    values = {number: {key: _whole(value) for key, value in held.items()} for number, held in state["state"].items()}
    return {**state, "state": values}


def load_weights(network: nn.Module, state: Mapping[str, Any]) -> None:
    """``network.load_state_dict`` of whole tensors."""
    own, parts = network.state_dict(), copy.copy(state)  # the copy has the versions of the modules too
    for name, value in state.items():
        parts[name] = _part(value, own.get(name))  # type: ignore[index]
    network.load_state_dict(parts)


def load_state(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """``optimizer.load_state_dict`` of whole tensors."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    values = {
        number: {key: _part(value, weights[number]) for key, value in held.items()} for number, held in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": values})


def _whole(value: Any) -> Any:
    if not _is_part(value):
        return value
    gathered = value.full_tensor()
    return gathered.cpu() if dist.get_rank() == 0 else None  # who does not write keeps no copy in the memory of the host


def _part(value: Any, like: Any) -> Any:
    """This process's part of a tensor that is shared out as another one of its shape."""
    if not _is_part(like) or not isinstance(value, Tensor) or value.shape != like.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)


def _is_part(value: Any) -> bool:
    """Whether a value is a tensor that is shared out: torch's ``DTensor``."""
    return isinstance(value, Tensor) and hasattr(value, "full_tensor")
