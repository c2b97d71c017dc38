"""Aids for debugging a run: torch's profiler and its anomaly detection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch.profiler import ProfilerActivity, profile

from ..config import RunConfig

_ROWS = 20  # of the table of operators


@contextmanager
def debugging(config: RunConfig) -> Iterator[None]:
    """Profiles the block or detects its anomalies, as ``impl.profile`` and ``impl.detect_anomaly`` ask.

    Afterwards the profile is printed by operator and written as ``profile.json`` into the run's folder.
    """
    with ExitStack() as stack:
        if config.impl.detect_anomaly:
            stack.enter_context(torch.autograd.set_detect_anomaly(True))
        if not config.impl.profile:
            yield
            return
        on_gpu = config.impl.torch_device().type == "cuda"
        profiler = profile(activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * on_gpu])
        with profiler:
            yield
        order = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
        print(profiler.key_averages().table(sort_by=order, row_limit=_ROWS))
        profiler.export_chrome_trace(str(config.folder / "profile.json"))
