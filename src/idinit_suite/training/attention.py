"""Attention as plain matrix products, where torch's fused kernel is the slower one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class PlainAttention(TorchFunctionMode):
    """A context in which ``scaled_dot_product_attention`` is written out, unless it is masked.

    Forward and backward together, torch's kernels for bfloat16 on the CPU take up to four times as long.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Takes the place of a function of torch."""
        replaced = _attention if func is F.scaled_dot_product_attention else func
        return replaced(*args, **(kwargs or {}))


def _attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0, **others: Any
) -> Tensor:
    if attn_mask is not None or others.get("is_causal") or others.get("enable_gqa"):
        return F.scaled_dot_product_attention(query, key, value, attn_mask, dropout_p, **others)
    scale = others.get("scale") or query.shape[-1] ** -0.5
    weights = ((query * scale) @ key.mT).softmax(-1, dtype=torch.float32).to(query.dtype)
    return F.dropout(weights, dropout_p) @ value
