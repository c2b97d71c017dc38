"""The picture of a report: every signal at its place, zeros among them, and nothing left behind."""

from __future__ import annotations

import copy
import gc
import io
import json
import pickle
import re
import sys

import matplotlib as mpl
import pytest
import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from idinit import initialize_
from idinit.diagnostics.plot import draw_signals
from idinit.diagnostics.signal_profile import SUM, SignalPoint, signal_profile
from idinit.errors import UsageError
from idinit.network.record import Row
from idinit.network.report import Report
from idinit.parts import find_structure

X = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
SIGNALS = [
    SignalPoint("stem.weight", "stem", 1.0, 1e-3),
    SignalPoint("a.weight", "branch", 0.5, 0.0),
    SignalPoint("b.weight", "branch_end", 1e-6, 1e-3),
    SignalPoint("block", SUM, 1.0, 1e-3),
    SignalPoint("head.weight", "head", 2.0, 1.0),
]


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.outer(self.inner(x).relu())


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 8), Residual(), nn.Linear(8, 2))


def points(axes: Axes, colour: str) -> dict[float, float]:
    """The points of a colour, each depth's size."""
    lines = [line for line in axes.lines if line.get_color() == colour and line.get_marker() not in ("None", "")]
    return {float(x): float(y) for line in lines for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)}


def test_every_signal_is_drawn_where_it_belongs() -> None:
    upper, lower = draw_signals(SIGNALS, "net").axes
    assert upper.get_yscale() == lower.get_yscale() == "log"
    assert points(upper, "#000000") == {1: 1.0, 4: 1.0, 5: 2.0}
    assert points(upper, "#56B4E9") == {2: 0.5}
    assert points(upper, "#D55E00") == {3: 1e-6}
    assert points(lower, "#000000") == {1: 1e-3, 4: 1e-3, 5: 1.0}


def test_zeros_are_hollow_at_the_bottom_and_named() -> None:
    upper, lower = draw_signals(SIGNALS, "net").axes
    (floor,) = points(lower, "#56B4E9").values()
    assert 0 < floor < 1e-3
    hollow = [line for line in lower.lines if line.get_markerfacecolor() == "white" and len(line.get_xdata())]
    assert [list(line.get_xdata()) for line in hollow] == [[2]]
    assert [text.get_text() for text in lower.texts] == ["0"]
    assert not upper.texts


def test_zeros_are_below_everything_else_and_below_every_tick() -> None:
    upper, _ = draw_signals(
        [SignalPoint("a", "stem", 1.0, 1.0), SignalPoint("b", "branch", 0.9, 1.0), SignalPoint("c", "branch_end", 0.0, 1.0)],
        "n",
    ).axes
    (floor,) = points(upper, "#D55E00").values()
    bottom, _ = upper.get_ylim()
    assert bottom < floor < min(upper.get_yticks()) < 0.9
    assert not len(upper.yaxis.get_minorticklocs())


def test_a_legend_of_what_is_there() -> None:
    (legend,) = draw_signals(SIGNALS, "net").legends
    assert [text.get_text() for text in legend.get_texts()] == ["main path", "inside a branch", "branch end"]


@pytest.mark.parametrize("sizes", [(0.0, 0.0), (float("nan"), float("inf"))])
def test_a_network_in_which_nothing_flows_can_be_drawn(sizes: tuple[float, float]) -> None:
    draw_signals([SignalPoint("a", "stem", *sizes)], "net").savefig(io.BytesIO(), format="png")


def test_the_picture_of_a_report_shows_its_network() -> None:
    model = net()
    before = mpl.rcParams.copy()
    report = initialize_(model, "idinit", (X,))
    figure = report.plot()
    assert figure.get_suptitle() == "Sequential, idinit"
    activations = {depth: size for line in figure.axes[0].lines for depth, size in zip(*line.get_data(), strict=True)}
    expected = [signal.activation for signal in signal_profile(model, (X,))]
    assert [activations[depth] for depth in sorted(activations)] == expected
    assert len(expected) == 5
    assert mpl.rcParams == before


def test_a_report_does_not_keep_its_network_alive() -> None:
    report = initialize_(net(), "idinit", (X,))
    gc.collect()
    assert report.network() is None
    with pytest.raises(UsageError, match="gone"):
        report.plot()


def test_a_report_is_pickled_without_its_network() -> None:
    model = net()
    report = initialize_(model, "fixup", (X,))
    for copied in (pickle.loads(pickle.dumps(report)), copy.deepcopy(report)):
        assert copied == report and str(copied) == str(report) and copied.network() is None
    assert report.network() is model


def test_every_form_of_the_report_says_the_same() -> None:
    report = initialize_(net(), "idinit", (X,), keep="2.*")
    frame = report.to_pandas()
    assert list(frame["parameter"]) == [row.parameter for row in report.rows]
    assert json.loads(json.dumps(report.to_dict())) == {
        "method": "idinit",
        "options": dict(report.options),
        "rows": [{**row, "shape": list(row["shape"])} for row in frame.to_dict("records")],
    }
    cells = [[row.parameter, "x".join(map(str, row.shape)), row.part, row.rule, row.note] for row in report.rows]
    assert [re.findall(r"<td>(.*?)</td>", line) for line in report._repr_html_().split("<tr>")[2:]] == cells
    assert [[cell.strip() for cell in line.split("|")[1:-1]] for line in report.to_markdown().splitlines()[4:-2]] == cells
    assert [line.split() for line in str(report).splitlines()[4:-2]] == [" ".join(row).split() for row in cells]
    assert str(report).endswith("8 parameters, 2 left alone")


def test_cells_are_escaped() -> None:
    report = Report("kaiming", {}, (Row("a|b", (1,), "<scale>", "0"),))
    assert r"| a\|b | 1 |" in report.to_markdown()
    assert "<td>&lt;scale&gt;</td>" in report._repr_html_()


@pytest.mark.parametrize(("package", "use", "extra"), [("pandas", "to_pandas", "tables"), ("matplotlib", "plot", "plot")])
def test_a_missing_package_is_named_with_its_extra(package: str, use: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = net()
    report = initialize_(model, "idinit", (X,))
    for name in [name for name in sys.modules if name.startswith(("idinit.diagnostics.plot", package))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [])  # from which nothing more can be imported
    with pytest.raises(UsageError, match=rf"Report\.{use}.*{package}.*'idinit\[{extra}\]'"):
        getattr(report, use)()


def test_a_picture_needs_inputs() -> None:
    model = net()
    report = initialize_(model, "kaiming", parts=find_structure(model, (X,)))
    with pytest.raises(UsageError, match="example_inputs"):
        report.plot()
