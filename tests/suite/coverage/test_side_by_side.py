"""Beside AnyInit: outcomes, and the page that counts them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from idinit.errors import UsageError
from idinit_suite.coverage import side_by_side
from idinit_suite.coverage.families import Case
from idinit_suite.coverage.side_by_side import Outcome, ours, outcome, side_by_side_page, write_side_by_side
from idinit_suite.report.blocks import markdown

SMALL = Case("torchvision", "squeezenet1_1", "squeezenet1_1", (3, 32, 32))


def test_our_outcome_is_a_graph_with_finite_outputs() -> None:
    found = outcome(SMALL, ours)
    assert (found.read, found.is_finite, found.problem) == ("graph", True, "") and found.seconds > 0


def test_what_fails_and_what_is_not_finite_is_told() -> None:
    def break_(model: nn.Module, _inputs: object) -> str:
        nn.init.constant_(next(model.parameters()), torch.inf)
        return "linear"

    def fail(_model: nn.Module, _inputs: object) -> str:
        raise ValueError("no\nway")

    assert outcome(SMALL, break_).is_finite is False
    assert outcome(SMALL, fail).problem == "ValueError: no way"


def test_the_page_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "version", lambda _name: "0.4.0")
    done = {
        "a": (Outcome("graph", True, 1.0), Outcome("linear", True, 2.0)),
        "b": (Outcome("graph", True, 1.0), Outcome("", False, 3.0, "ValueError: no")),
    }
    page = markdown(side_by_side_page(done, 5))
    assert "2 of the 5 networks" in page
    assert "| idinit | 2 | 2 | 0 | 0 | 2 | 2 |" in page and "| AnyInit | 2 | 0 | 1 | 1 | 1 | 5 |" in page
    assert "| b | graph | ValueError: no | 1.0 | 3.0 |" in page


def test_without_anyinit_one_line_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pip install anyinit"):
        write_side_by_side(tmp_path, [])
