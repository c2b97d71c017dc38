"""Floating-point operations of a training step."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def count_flops(model: nn.Module, inputs: tuple[Tensor, ...]) -> int | None:
    """Operations of one example's forward and backward pass, matrix products and convolutions counted at two a multiply-add.

    They are counted on a copy without values, so nothing is computed and ``model`` stays as it is.

    Args:
        model: A network; its scalars and other hooks are copied with it.
        inputs: What it is called with, for several examples; only shapes and dtypes matter.

    Returns:
        The number, or None for a network that needs values to run.
    """
    ghost = copy.deepcopy(model).to("meta")
    try:
        # Anomaly detection looks for NaN, and there are no values to look at.
        with FlopCounterMode(display=False) as counter, torch.enable_grad(), torch.autograd.set_detect_anomaly(False):
            ghost(*(tensor.to("meta") for tensor in inputs)).sum().backward()
    except (NotImplementedError, RuntimeError):
        return None
    return int(counter.get_total_flops()) // len(inputs[0])
