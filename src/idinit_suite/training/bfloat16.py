"""Products in bfloat16 on processors that do not compute in it."""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

# Those of autocast's list (aten/src/ATen/autocast_mode.h, AT_FORALL_LOWER_PRECISION_FP) that the networks call.
_PRODUCTS = {
    *(torch.conv1d, torch.conv2d, torch.conv3d, F.linear),
    *(torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, torch.bmm, torch.addmm, torch.baddbmm),
}


@functools.cache
def has_bfloat16_units() -> bool:
    """Whether this processor computes in bfloat16. oneDNN says so of any x86 with AVX-512, which may only convert."""
    if platform.machine() in ("x86_64", "AMD64"):
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    supported: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return supported


class RoundedProducts(TorchFunctionMode):
    """A context in which autocast's convolutions and matrix products on the CPU are computed in float32, from rounded values.

    Units for bfloat16 do the same in one go: they multiply values of bfloat16, add up in float32 and round the sum. The
    results differ by the order of the additions alone, and so do the gradients. torch's own kernels for a processor without
    such units take over ten times as long.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Takes the place of a function of torch."""
        kwargs = kwargs or {}
        if func not in _PRODUCTS or not torch.is_autocast_enabled("cpu"):
            return func(*args, **kwargs)
        with torch.autocast("cpu", enabled=False):
            output = func(*map(_rounded, args), **{name: _rounded(value) for name, value in kwargs.items()})
            return output.to(torch.bfloat16)


def _rounded(value: Any) -> Any:
    """A tensor as float32 with values of bfloat16; other arguments as they are."""
    return value.to(torch.bfloat16).float() if isinstance(value, Tensor) else value
