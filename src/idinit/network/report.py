"""What `initialize_` tells: a table, a data frame, a picture."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from io import StringIO
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from torch import nn

from ..errors import UsageError
from ..graph.probe import Inputs
from .record import LEFT_ALONE, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Report:
    """What `initialize_` did: ``str(report)`` is a table.

    Attributes:
        method: Name of the initializer.
        options: All its options, defaults included.
        rows: A row for every parameter of the network.
        network: A weak reference to the network, which the report does not keep alive.
        example_inputs: What it was run on to find its parts.
    """

    method: str
    options: Mapping[str, Any]
    rows: tuple[Row, ...]
    network: weakref.ref[nn.Module] = field(repr=False, compare=False)
    example_inputs: Inputs | None = field(default=None, repr=False, compare=False)

    @property
    def left_alone(self) -> tuple[Row, ...]:
        """The parameters that kept their values; their notes say why."""
        return tuple(row for row in self.rows if row.rule == LEFT_ALONE)

    def to_pandas(self) -> pd.DataFrame:
        """The rows as a data frame with the columns parameter, shape, part, rule and note."""
        return pd.DataFrame([asdict(row) for row in self.rows])

    def plot(self) -> Figure:
        """Draws the size of activations and gradients against depth, for the network as it is now: call it before training.

        See `measure_signal` for what is measured, and how. The network is left as it was.

        Returns:
            A figure; ``report.plot().savefig("signal.png")`` writes it to a file.

        Raises:
            UsageError: If the network is gone, or was initialized without example inputs.
        """
        from ..diagnostics.plot import draw_signals  # matplotlib is slow to import
        from ..diagnostics.signal import measure_signal

        network = self.network()
        if network is None:
            raise UsageError("the network that this report is about is gone: keep it while you plot")
        if self.example_inputs is None:
            raise UsageError("the network was initialized without inputs to run it on: give initialize_ example_inputs")
        return draw_signals(measure_signal(network, self.example_inputs), f"{type(network).__name__}, {self.method}")

    def __str__(self) -> str:
        options = ", ".join(f"{key}={value}" for key, value in self.options.items())
        table = Table("parameter", "shape", "part", "rule", "note", title=f"{self.method}({options})", title_justify="left")
        for row in self.rows:
            table.add_row(row.parameter, "x".join(map(str, row.shape)), row.part, row.rule, row.note)
        table.caption = f"{len(self.rows)} parameters, {len(self.left_alone)} left alone"
        out = StringIO()
        # Wide enough for any row: a report in a file or a notebook must not wrap at some terminal's width.
        Console(file=out, width=1000, color_system=None, markup=False, emoji=False).print(table)
        return "\n".join(line.rstrip() for line in out.getvalue().splitlines())
