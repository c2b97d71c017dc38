"""The time and the memory that `initialize_` takes on large networks, beside torch.export, which records the graph."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from idinit.graph.probe import call_arguments
from idinit.initialize import initialize_
from idinit.zoo import load

from ..report.blocks import Block, Heading, write_markdown
from ..report.page import this_machine
from ..report.table import table, terminal_table
from ..training.host_memory import return_freed_memory
from ..training.progress import console
from .norm_free import without_norms

NETWORKS = ("torchvision:resnet152", "timm:vit_large_patch16_224", "timm:swin_base_patch4_window7_224")
METHODS = ("idinit", "kaiming", "default", "orthogonal", "delta_orthogonal", "rezero", "fixup")
_ROUNDS, _ENOUGH = 3, 10.0  # calls, seconds
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def measure(networks: Sequence[str] = NETWORKS, methods: Sequence[str] = METHODS) -> list[Block]:
    """Measures and prints times and memory. Fixup, which refuses normalization layers, gets the network without them.

    Args:
        networks: Their names, as in `idinit.zoo`.
        methods: Names of initializers.

    Returns:
        The blocks of a page.
    """
    rows = []
    for name in networks:
        model, inputs = load(name)
        args, kwargs = call_arguments(model.eval(), inputs)
        size = f"{name}, {sum(p.numel() for p in model.parameters()) / 1e6:.0f} million"
        rows.append((size, "torch.export alone", *_measured(partial(torch.export.export, model, args, kwargs, strict=False))))
        for method in methods:
            network = without_norms(load(name)[0]) if method == "fixup" else model
            rows.append((size, method, *_measured(partial(initialize_, network, method, inputs))))
    times = table("Time to initialize", ["network, parameters", "", "seconds", "of the processor", "memory"], rows, left=2)
    console.print(terminal_table(times))
    text = (
        f"Made by `make bench`: `initialize_` with a batch of two images, {torch.get_num_threads()} threads, the median of "
        f"up to {_ROUNDS} calls. The clock counts what else the machine does as well, the processor's time does not. "
        "Memory is what the process' peak adds to what it held before the call, the most of the calls; the network itself "
        "takes 4 MB for each million parameters. "
        "Orthogonal matrices take a QR decomposition of each weight."
    )
    return [Heading(1, "Time to initialize"), text, times, f"{this_machine()}."]


def write_initialization(folder: Path) -> None:
    """Measures, and writes ``initialization.md`` in a folder, which is made if missing."""
    write_markdown(folder / "initialization.md", measure())


def _measured(call: Callable[[], object]) -> tuple[str, str, str]:
    """Medians of the seconds on the clock and of the processor's, and the largest growth of the resident memory (Linux)."""
    clock: list[float] = []
    processor: list[float] = []
    growth: list[float] = []
    while len(clock) < _ROUNDS and sum(clock) < _ENOUGH:
        return_freed_memory()
        if _RESET.exists():
            _RESET.write_text("5")  # the peak is that of now
        started = time.perf_counter(), time.process_time(), _resident("VmRSS")
        call()
        clock.append(time.perf_counter() - started[0])
        processor.append(time.process_time() - started[1])
        growth.append(_resident("VmHWM") - started[2])
    memory = "–" if math.isnan(growth[0]) else f"{max(growth) / 1e3:,.0f} MB"
    return f"{statistics.median(clock):.1f}", f"{statistics.median(processor):.1f}", memory


def _resident(what: str) -> float:
    """The resident memory of this process, now or at its peak, in kB; NaN where the system is not Linux."""
    lines = _STATUS.read_text().splitlines() if _STATUS.exists() else []
    return next((float(line.split()[1]) for line in lines if line.startswith(f"{what}:")), math.nan)
