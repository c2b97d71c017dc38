"""BatchNorm over the batch of all processes, on any device."""

from __future__ import annotations

from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm

from idinit.errors import UsageError


class CpuSyncBatchNorm(_BatchNorm):
    """`torch.nn.SyncBatchNorm` for processes on a CPU, of which torch's own takes no inputs.

    Every process must have as many values a channel as the others.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:
        """Normalizes [N, C, ...] by the mean and the variance of each channel over all processes; in evaluation as usual."""
        if not (self.training or self.running_mean is None):
            return super().forward(input)
        dims = [dim for dim in range(input.dim()) if dim != 1]
        world_size = dist.get_world_size()
        values = input.float()
        mean = all_reduce(values.mean(dims)) / world_size
        centered = values - _per_channel(mean, input)
        variance = all_reduce(centered.square().mean(dims)) / world_size
        if self.training and self.running_mean is not None:
            self._update(mean.detach(), variance.detach(), world_size * input.numel() // input.shape[1])
        output = centered * _per_channel((variance + self.eps).rsqrt(), input)
        if self.affine:
            output = output * _per_channel(self.weight, input) + _per_channel(self.bias, input)
        return output.to(input.dtype)

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Moves the running statistics, of which the variance is the unbiased one as in torch."""
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * (count / max(1, count - 1)), momentum)


def _per_channel(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(1, -1, *[1] * (like.dim() - 2))


class CpuSyncBatchNormAct(CpuSyncBatchNorm):
    """The same for timm's ``BatchNormAct2d``, which holds what follows the normalization: dropout and activation."""

    drop: nn.Module
    act: nn.Module

    def forward(self, input: Tensor) -> Tensor:
        """Normalizes and activates [N, C, H, W]."""
        return cast(Tensor, self.act(self.drop(super().forward(input))))


def convert_sync_batchnorm(model: nn.Module, device: torch.device) -> nn.Module:
    """Makes every BatchNorm of a network one over all processes, in place.

    Modules change their class only, as under torch's FSDP2: parameters, buffers, submodules and hooks stay.

    Raises:
        UsageError: If one computes more than its normalization, in a way that is not known.
    """
    on_cuda = device.type == "cuda"
    for name, module in model.named_modules():
        if not isinstance(module, _BatchNorm) or isinstance(module, (nn.SyncBatchNorm, CpuSyncBatchNorm)):
            continue
        if type(module).forward is _BatchNorm.forward:
            module.__class__ = nn.SyncBatchNorm if on_cuda else CpuSyncBatchNorm
        else:
            module.__class__ = _with_activation(name, module, on_cuda)
        if on_cuda:
            module.__dict__["process_group"] = None  # all processes
    return model


def _with_activation(name: str, module: nn.Module, on_cuda: bool) -> type[_BatchNorm]:
    """The class for a normalization of timm's that holds an activation."""
    from timm.layers import BatchNormAct2d, SyncBatchNormAct  # seconds to import, and most networks have none

    if type(module).forward is BatchNormAct2d.forward:
        return SyncBatchNormAct if on_cuda else CpuSyncBatchNormAct
    raise UsageError(
        f"train.sync_batchnorm: '{name}' is a {type(module).__name__}, whose forward pass is its own: set "
        "train.sync_batchnorm=false"
    )
