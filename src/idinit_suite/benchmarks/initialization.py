"""The time that `initialize_` takes on large networks, beside that of torch.export, which records the graph."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from idinit.graph.probe import call_arguments
from idinit.initialize import initialize_
from idinit.zoo import load

from ..atomic import write_atomically
from ..report.page import environment_facts, in_one_line
from ..report.table import markdown_table, table, terminal_table
from ..training.environment import describe
from ..training.progress import console

NETWORKS = ("torchvision:resnet152", "timm:vit_large_patch16_224", "timm:swin_base_patch4_window7_224")
METHODS = ("idinit", "kaiming", "default", "orthogonal", "delta_orthogonal")
_ROUNDS, _ENOUGH = 3, 10.0  # calls, seconds


def measure(networks: Sequence[str] = NETWORKS, methods: Sequence[str] = METHODS) -> str:
    """Measures and prints the times.

    Args:
        networks: Their names, as in `idinit.zoo`.
        methods: Names of initializers.

    Returns:
        A page.
    """
    rows = []
    for name in networks:
        model, inputs = load(name)
        args, kwargs = call_arguments(model.eval(), inputs)
        calls: dict[str, Callable[[], object]] = {method: partial(initialize_, model, method, inputs) for method in methods}
        calls = {"torch.export alone": partial(torch.export.export, model, args, kwargs, strict=False)} | calls
        rows += [(name, what, *_seconds(call)) for what, call in calls.items()]
    times = table("Time to initialize", ["network", "", "seconds", "of the processor"], rows, left=2)
    console.print(terminal_table(times))
    text = (
        f"Made by `make bench`: `initialize_` with a batch of two images, {torch.get_num_threads()} threads, the median of "
        f"up to {_ROUNDS} calls. The clock counts what else the machine does as well, the processor's time does not. "
        "Orthogonal matrices take a QR decomposition of each weight."
    )
    facts = in_one_line(environment_facts(describe(torch.device("cpu"))))
    return f"# Time to initialize\n\n{text}\n\n{markdown_table(times)}\n\n{facts}.\n"


def write_initialization(folder: Path) -> None:
    """Measures, and writes ``initialization.md`` in a folder, which is made if missing."""
    page = measure()
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "initialization.md", page.encode())


def _seconds(call: Callable[[], object]) -> tuple[str, str]:
    """Medians of the seconds on the clock and of the processor's."""
    clock: list[float] = []
    processor: list[float] = []
    while len(clock) < _ROUNDS and sum(clock) < _ENOUGH:
        started = time.perf_counter(), time.process_time()
        call()
        clock.append(time.perf_counter() - started[0])
        processor.append(time.process_time() - started[1])
    return f"{statistics.median(clock):.1f}", f"{statistics.median(processor):.1f}"
