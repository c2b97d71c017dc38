"""From a checked configuration to what is trained: the network, initialized, and the precision of its forward passes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import nn

from idinit.initialize import initialize_
from idinit.network.report import Report

from ..config import RunConfig
from ..data import Batches
from ..models import build_model
from ..seeds import derive, generator
from .attention import PlainAttention


def build(config: RunConfig, data: Batches) -> tuple[nn.Module, Report]:
    """The network of a run on the CPU, initialized."""
    inputs = tuple(tensor.cpu() for tensor in data.example_inputs())
    with torch.random.fork_rng(devices=[]):  # constructors draw from the global state what an initializer leaves alone
        torch.manual_seed(derive(config.seed, "init"))
        model = build_model(config.entry("model"), data.spec, inputs, config.options("model"))
    report = initialize_(
        model,
        config.init["name"],
        example_inputs=inputs,
        generator=generator(config.seed, "init"),
        keep=getattr(model, "pretrained", ()),
        **config.options("init"),
    )
    return model, report


@contextmanager
def autocast(config: RunConfig, device: torch.device) -> Iterator[None]:
    """The precision of a run's forward passes, as a context.

    Where a backward pass will follow, attention in bfloat16 on the CPU is `PlainAttention`.
    """
    bf16 = config.train.precision == "bf16"
    plain = bf16 and device.type == "cpu" and torch.is_grad_enabled()
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16), PlainAttention() if plain else nullcontext():
        yield
