"""BatchNorm over the batch of all processes, on any device."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm


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


def convert_sync_batchnorm(model: nn.Module, device: torch.device) -> nn.Module:
    """Replaces every BatchNorm of a network by one over all processes; parameters and buffers stay the same tensors."""
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm) and not isinstance(child, CpuSyncBatchNorm):
                synced = CpuSyncBatchNorm(
                    child.num_features, child.eps, child.momentum, child.affine, child.track_running_stats
                )
                synced._parameters.update(child._parameters)
                synced._buffers.update(child._buffers)
                synced.train(child.training)
                setattr(parent, name, synced)
    return model
