"""Training steps as timm's own script takes them (``train.py`` of pytorch-image-models), from the parts that timm ships."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from timm.data import create_loader
from timm.optim import create_optimizer_v2
from timm.task import ClassificationTask
from timm.utils import AverageMeter, dispatch_clip_grad

from ..config import RunConfig
from ..data import Batches
from ..training.build import build
from .dataloader_loop import Pictures


def timm_loop(
    config: RunConfig, data: Batches, device: torch.device, *, compiled: bool = False, fused: bool = True
) -> Iterator[None]:
    """Training steps with bf16, two workers and timm's prefetching loader; each ``next`` is one step.

    Args:
        config: The run, whose images, batch size and optimizer are used.
        data: Its data, for building the model.
        device: Where to train.
        compiled: As ``--torchcompile``.
        fused: Whether attention is one kernel, as ``TIMM_FUSED_ATTN`` says.
    """
    torch.manual_seed(0)
    channels, height, width = data.example_inputs(1)[0].shape[1:]
    pictures = Pictures(config)
    loader = create_loader(
        pictures,  # type: ignore[arg-type]  # any data set with a transform
        (channels, height, width),
        data.batch_size,
        is_training=True,
        scale=(0.8, 1.0),
        color_jitter=0.0,
        mean=tuple(pictures.mean),
        std=tuple(pictures.std),
        num_workers=2,
        device=device,
    )
    model: Any = build(config, data)[0].to(device)
    for block in model.blocks:
        block.attn.fused_attn = fused
    task = ClassificationTask(model, device=device, verbose=False)
    options = config.options("optim")
    optimizer = create_optimizer_v2(model, opt="adamw", lr=options["lr"], weight_decay=options["weight_decay"])
    if compiled:
        task.compile()
    losses = AverageMeter()
    while True:
        for inputs, targets in loader:
            with torch.autocast(device.type, torch.bfloat16):
                loss = task(inputs, targets)["loss"]
            optimizer.zero_grad()
            loss.backward()
            dispatch_clip_grad(model.parameters(), value=config.train.clip_norm or 1.0)
            optimizer.step()
            losses.update(loss.item(), len(inputs))
            yield
