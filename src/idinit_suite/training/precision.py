"""The precision of a run: of its forward passes, of its matrix products, and the scale of its loss."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from ..config import RunConfig
from .attention import PlainAttention
from .bfloat16 import RoundedProducts, has_bfloat16_units

_REDUCED = {"bf16": torch.bfloat16, "fp16": torch.float16}


def configure_backends(config: RunConfig) -> None:
    """Sets options of torch for the whole process: TensorFloat-32, the choice of convolutions, deterministic operators.

    ``train.precision=float32`` means float32: convolutions do not use TensorFloat-32 either, which is cuDNN's default.
    """
    tf32 = config.train.precision != "float32"
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    deterministic = config.impl.deterministic
    torch.backends.cudnn.benchmark = not deterministic  # the fastest convolution is not the same one in every process
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
    torch.use_deterministic_algorithms(deterministic)


def rounds_products(config: RunConfig, device: torch.device) -> bool:
    """Whether a run in bfloat16 is on a processor that does not compute in it, so that `RoundedProducts` do."""
    return config.train.precision == "bf16" and device.type == "cpu" and not has_bfloat16_units()


def compile_options(config: RunConfig, device: torch.device) -> dict[str, Any]:
    """Options of torch.compile."""
    if rounds_products(config, device):
        return {"emulate_precision_casts": True}  # it would leave out the roundings
    return {"triton.cudagraphs": config.impl.cuda_graphs}


@contextmanager
def autocast(config: RunConfig, device: torch.device) -> Iterator[None]:
    """The precision of a run's forward passes, as a context.

    On the CPU some functions of torch are replaced, see `replaced_functions`.
    """
    reduced = _REDUCED.get(config.train.precision)
    with torch.autocast(device.type, reduced, enabled=reduced is not None), replaced_functions(config, device):
        yield


@contextmanager
def replaced_functions(config: RunConfig, device: torch.device) -> Iterator[None]:
    """Takes faster functions in the place of torch's for bfloat16 on the CPU.

    These are `RoundedProducts` where the processor has no units for it, and `PlainAttention` there and where a backward pass
    will follow.
    """
    rounds = rounds_products(config, device)
    plain = config.train.precision == "bf16" and device.type == "cpu" and (rounds or torch.is_grad_enabled())
    with RoundedProducts() if rounds else nullcontext(), PlainAttention() if plain else nullcontext():
        yield


def gradient_scaler(config: RunConfig, device: torch.device) -> torch.amp.GradScaler:
    """Scales the loss of fp16, whose small gradients would otherwise be zero; does nothing in other precisions.

    A step whose gradients overflow is left out and halves the scale.
    """
    return torch.amp.GradScaler(device.type, enabled=config.train.precision == "fp16")
