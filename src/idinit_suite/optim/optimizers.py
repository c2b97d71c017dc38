"""Optimizers of torch by name, over the parameter groups of a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeFloat
from torch import nn
from torch.optim import Optimizer

from idinit.errors import UsageError
from idinit.network.scalars import param_groups
from idinit.registry import Registry

OPTIMIZERS: Registry[Callable[..., Optimizer], None] = Registry("optimizer")

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Decayed = Literal["all", "weights"]  # weights: tensors of two dimensions and more; not biases, norms or scalars


@OPTIMIZERS.register("sgd")
def sgd(
    model: nn.Module,
    *,
    lr: Rate = 0.1,
    momentum: Beta = 0.9,
    nesterov: bool = False,
    weight_decay: NonNegativeFloat = 5e-4,
    decay: Decayed = "all",
) -> Optimizer:
    """Stochastic gradient descent with momentum."""
    if nesterov and momentum == 0:
        raise UsageError("optim.nesterov=true needs a momentum: set optim.momentum, e.g. to 0.9")
    groups = param_groups(model, lr, weight_decay, decay)
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, fused=_can_fuse(model))


@OPTIMIZERS.register("adam")
def adam(
    model: nn.Module,
    *,
    lr: Rate = 1e-3,
    betas: tuple[Beta, Beta] = (0.9, 0.999),
    eps: Rate = 1e-8,
    weight_decay: NonNegativeFloat = 0.0,
    decay: Decayed = "all",
) -> Optimizer:
    """Adam (Kingma & Ba 2015); weight decay is added to the gradient."""
    groups = param_groups(model, lr, weight_decay, decay)
    return torch.optim.Adam(groups, lr=lr, betas=betas, eps=eps, fused=_can_fuse(model))


@OPTIMIZERS.register("adamw")
def adamw(
    model: nn.Module,
    *,
    lr: Rate = 1e-3,
    betas: tuple[Beta, Beta] = (0.9, 0.999),
    eps: Rate = 1e-8,
    weight_decay: NonNegativeFloat = 0.05,
    decay: Decayed = "weights",
) -> Optimizer:
    """AdamW (Loshchilov & Hutter 2019); weight decay is apart from the gradient."""
    groups = param_groups(model, lr, weight_decay, decay)
    return torch.optim.AdamW(groups, lr=lr, betas=betas, eps=eps, fused=_can_fuse(model))


def set_rate(optimizer: Optimizer, factor: float) -> None:
    """Sets every group's rate to ``factor`` times the rate it was made with."""
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
        group["lr"] = group["initial_lr"] * factor


def _can_fuse(model: nn.Module) -> bool:
    """torch's fused kernels take floating-point parameters on one kind of device."""
    parameters: list[Any] = list(model.parameters())
    return all(p.is_floating_point() for p in parameters) and parameters[0].device.type in ("cpu", "cuda")
