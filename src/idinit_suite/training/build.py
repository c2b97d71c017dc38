"""From a checked configuration to the data and the initialized network of a run."""

from __future__ import annotations

import torch
from torch import nn

from idinit.initialize import initialize_
from idinit.network.report import Report

from ..config import RunConfig
from ..data import DATASETS, Batches, DataContext
from ..models import build_model
from ..seeds import derive, generator


def load_data(config: RunConfig, context: DataContext) -> Batches:
    """The data of a run."""
    return DATASETS[config.entry("data")].build(context, **config.options("data"))


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
