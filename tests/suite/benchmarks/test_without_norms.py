"""Training without normalization: what is trained, which rate counts, and what is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
from torch import Tensor, nn

from idinit_suite.archive.edges import edge, marked
from idinit_suite.benchmarks.norm_free import CASES, METHODS, Case, without_norms
from idinit_suite.benchmarks.without_norms import RATES, best_rate, measure, training_page
from idinit_suite.report.blocks import markdown


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner, self.outer, self.head = (nn.Linear(64, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 10))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(x + self.outer(self.inner(x).relu()))


SMALL = {"small": Case(Small, lambda x: x.flatten(1), ("default", "rezero"))}


def test_runs_are_kept_and_only_what_is_missing_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bench" / "training.csv"
    rows = measure(path, SMALL, (0, 1), steps=8)
    assert len(rows) == 2 * (len(RATES) + 1)
    best = best_rate(rows, "small", "rezero")
    assert [row["rate"] for row in rows if row["method"] == "rezero" and row["seed"] == "1"] == [best]
    assert float(rows[0]["loss_200"]) == pytest.approx(2.3, abs=0.3)
    monkeypatch.delattr("idinit_suite.benchmarks.without_norms.train")
    assert measure(path, SMALL, (0, 1), steps=8) == rows
    rate = marked(float(best), edge(RATES, float(best)))
    assert f"| small | rezero | {rate} |" in markdown(training_page(rows))


def test_a_run_that_is_not_finite_loses_and_a_refusal_is_told(tmp_path: Path) -> None:
    row = {"network": "a", "method": "b", "seed": "0", "loss_50": "2.000", "loss_100": "nan", "loss_200": "nan"}
    rows = [row | {"rate": "0.001"}, row | {"rate": "0.01", "loss_100": "2.100", "loss_200": "2.200"}]
    assert best_rate(rows, "a", "b") == "0.01"
    page = markdown(training_page([*rows, row | {"method": "c", "rate": "0.1", "loss_200": "refused"}]))
    assert "| a | b | 0.01 | 2.00 | 2.10 | 2.20 | 2.20 to 2.20 | 1 |" in page and "| a | c |  | refused |" in page


def test_a_rate_at_the_edge_is_marked_and_none_is_named_where_all_diverge() -> None:
    row = {"network": "a", "seed": "0", "loss_50": "2.000", "loss_100": "2.000", "loss_200": "2.000"}
    rows = [row | {"method": "edge", "rate": f"{max(RATES):g}"}]
    rows += [row | {"method": "none", "rate": f"{rate:g}", "loss_100": "nan", "loss_200": "nan"} for rate in RATES]
    page = markdown(training_page(rows))
    assert f"| a | edge | {max(RATES):g} ↑ |" in page
    assert "| a | none |  | 2.00 | diverged | diverged | diverged | 1 |" in page


def test_no_normalization_is_left() -> None:
    model = without_norms(timm.create_model("test_efficientnet"))
    assert not [name for name, module in model.named_modules() if "Norm" in type(module).__name__]
    assert any(isinstance(module, nn.SiLU) for module in model.modules())  # timm's layers of both keep the activation
    assert all(set(case.methods) <= {*METHODS, "zero"} for case in CASES.values())
