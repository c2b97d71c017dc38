"""The network before training, as a table and a figure in the run folder."""

from __future__ import annotations

import io
from dataclasses import asdict
from pathlib import Path

from idinit.diagnostics.signal_profile import signal_profile
from idinit.errors import UsageError

from ..atomic import write_atomically, write_json
from ..config import RunConfig
from ..data import Batches
from ..tracking.wandb_follower import PICTURE, REPORT
from .build import build


def describe_start(config: RunConfig, data: Batches, folder: Path) -> None:
    """Writes ``initialization.json``, a row for each parameter, and ``signals.png``.

    They describe a second network, built on the CPU as the run's was, which training does not touch.

    Args:
        config: The run.
        data: Its data.
        folder: The run folder. The picture is left out where the network cannot be measured.

    Raises:
        OSError: If they cannot be written.
    """
    model, report = build(config, data)
    rows = [{**asdict(row), "shape": "x".join(map(str, row.shape))} for row in report.rows]
    write_json(folder / REPORT, rows, indent=1, default=str)
    try:
        signals = signal_profile(model, tuple(tensor.cpu() for tensor in data.example_inputs()))
    except (UsageError, RuntimeError):  # it may be too large for that, or hold what cannot be run step by step
        return
    from idinit.diagnostics.plot import draw_signals  # matplotlib takes a second to import

    image = io.BytesIO()
    draw_signals(signals, f"{type(model).__name__}, {report.method}").savefig(image, format="png", dpi=120)
    write_atomically(folder / PICTURE, image.getvalue())
