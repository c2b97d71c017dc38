"""The report of `initialize_`: a table, a data frame, a picture."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from torch import nn

from ..errors import UsageError, needs_extra
from ..graph.probe import Inputs
from ..tables import html_table, markdown_table, text_table
from .record import LEFT_ALONE, Row

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_COLUMNS = tuple(column.name for column in fields(Row))


@dataclass(frozen=True)
class Report:
    """What `initialize_` did: ``str(report)`` is a table, and notebooks show it as one.

    A report can be pickled and copied; the copy knows no network.

    Attributes:
        method: Name of the initializer.
        options: All its options, defaults included.
        rows: A row for every parameter of the network.
    """

    method: str
    options: Mapping[str, Any]
    rows: tuple[Row, ...]
    _network: weakref.ref[nn.Module] | None = field(default=None, repr=False, compare=False)
    _example_inputs: Inputs | None = field(default=None, repr=False, compare=False)

    @property
    def left_alone(self) -> tuple[Row, ...]:
        """The parameters that kept their values; their notes say why."""
        return tuple(row for row in self.rows if row.rule == LEFT_ALONE)

    @property
    def title(self) -> str:
        """The method and all its options, as in ``kaiming(mode=fan_out)``."""
        return f"{self.method}({', '.join(f'{key}={value}' for key, value in self.options.items())})"

    @property
    def summary(self) -> str:
        """The number of parameters, and of those left alone."""
        return f"{len(self.rows)} parameters, {len(self.left_alone)} left alone"

    def network(self) -> nn.Module | None:
        """The network, which the report does not keep alive; None once it is gone."""
        return None if self._network is None else self._network()

    def to_dict(self) -> dict[str, Any]:
        """The method, its options and the rows as plain values; ``json.dumps`` writes them."""
        rows = [{**asdict(row), "shape": list(row.shape)} for row in self.rows]
        return {"method": self.method, "options": dict(self.options), "rows": rows}

    def to_markdown(self) -> str:
        """The table in GitHub's Markdown."""
        return f"**{self.title}**\n\n{markdown_table(_COLUMNS, self._cells())}\n\n{self.summary}"

    def to_pandas(self) -> pd.DataFrame:
        """The rows as a data frame with the columns parameter, shape, part, rule and note.

        Raises:
            UsageError: If pandas is not installed.
        """
        with needs_extra("tables", "Report.to_pandas"):
            import pandas as pd  # slow to import
        return pd.DataFrame([asdict(row) for row in self.rows])

    def plot(self) -> Figure:
        """Draws the size of activations and gradients against depth, for the network as it is now: call it before training.

        See `signal_profile` for what is measured, and how. The network is left as it was.

        Returns:
            A figure; ``report.plot().savefig("signal.png")`` writes it to a file.

        Raises:
            UsageError: If the network is gone, or was initialized without example inputs, or Matplotlib is not installed.
        """
        with needs_extra("plot", "Report.plot"):
            from ..diagnostics.plot import draw_signals  # matplotlib is slow to import
        from ..diagnostics.signal_profile import signal_profile

        network = self.network()
        if network is None:
            raise UsageError("the network that this report is about is gone: keep it while you plot")
        if self._example_inputs is None:
            raise UsageError("the network was initialized without inputs to run it on: give initialize_ example_inputs")
        return draw_signals(signal_profile(network, self._example_inputs), f"{type(network).__name__}, {self.method}")

    def __str__(self) -> str:
        return f"{self.title}\n\n{text_table(_COLUMNS, self._cells())}\n\n{self.summary}"

    def _repr_html_(self) -> str:
        return html_table(_COLUMNS, self._cells(), f"{self.title}: {self.summary}")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_network": None, "_example_inputs": None}  # a weak reference cannot be pickled

    def _cells(self) -> list[tuple[str, ...]]:
        return [(row.parameter, "x".join(map(str, row.shape)), row.part, row.rule, row.note) for row in self.rows]
