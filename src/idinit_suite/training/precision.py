"""The precision of a run: of its forward passes, of its matrix products, and the scale of its loss."""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

from ..config import RunConfig
from .attention import PlainAttention
from .progress import console

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


def say_if_slow(config: RunConfig, device: torch.device) -> None:
    """Prints a line, once in a process, where the processor has no units for the precision of a run."""
    if device.type == "cpu" and config.train.precision == "bf16" and not has_bfloat16_units():
        _say_slow()


def has_bfloat16_units() -> bool:
    """Whether this processor computes in bfloat16. oneDNN says so of any x86 with AVX-512, which may only convert."""
    if platform.machine() in ("x86_64", "AMD64"):
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    supported: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return supported


@functools.cache
def _say_slow() -> None:
    console.print(
        "This processor has no units for bfloat16, in which training is many times slower here than in float32: "
        "train.precision=float32 (ARGS=train.precision=float32 of make) is faster, and makes other runs: those made in "
        "bfloat16 do not count for it",
        soft_wrap=True,
    )


@contextmanager
def autocast(config: RunConfig, device: torch.device) -> Iterator[None]:
    """The precision of a run's forward passes, as a context.

    Where a backward pass will follow, attention in bfloat16 on the CPU is `PlainAttention`.
    """
    reduced = _REDUCED.get(config.train.precision)
    with torch.autocast(device.type, reduced, enabled=reduced is not None), plain_attention(config, device):
        yield


@contextmanager
def plain_attention(config: RunConfig, device: torch.device) -> Iterator[None]:
    """`PlainAttention` where it is faster and a backward pass will follow."""
    plain = config.train.precision == "bf16" and device.type == "cpu" and torch.is_grad_enabled()
    with PlainAttention() if plain else nullcontext():
        yield


def gradient_scaler(config: RunConfig, device: torch.device) -> torch.amp.GradScaler:
    """Scales the loss of fp16, whose small gradients would else be zero; does nothing in other precisions.

    A step whose gradients overflow is left out and halves the scale.
    """
    return torch.amp.GradScaler(device.type, enabled=config.train.precision == "fp16")
