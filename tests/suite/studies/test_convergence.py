"""What the convergence study measures is what a plain loop gives, and what theory says of the identity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from idinit.errors import UsageError
from idinit_suite.studies.base import STUDIES, Setting
from idinit_suite.studies.convergence.measure import _inputs, make_target
from idinit_suite.studies.tools.vmapped_training import MOMENTUM

HERE = Setting(Path("data"), torch.device("cpu"))


def final(**options: Any) -> pd.DataFrame:
    chosen = {"size": 4, "examples": 16, "batches": (16, 4), "starts": ("identity",), "seeds": (0,), "rates": (0.1,)} | options
    rows = [row for cell in STUDIES["convergence"].build(HERE, **chosen) for row in cell.measure()]
    table = pd.DataFrame([row.values for row in rows if row.table == "final"])
    return table.set_index(["target", "batch", "optimizer"])["error"]


def alone(optimizer: str, rate: float, steps: int) -> float:
    """Full batches, three matrices that begin at I, and torch's SGD, as anybody would write it."""
    x, target = _inputs(16, 4, 0), make_target("rotation", 4, 0)
    layers = [torch.eye(4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    momentum = MOMENTUM if optimizer == "momentum" else 0.0
    update = torch.optim.SGD(layers, lr=rate * (1 - momentum), momentum=momentum)
    for _ in range(steps):
        out = x @ layers[0].T @ layers[1].T @ layers[2].T
        update.zero_grad()
        (0.5 * (out - x @ target.T).square().sum() / len(x)).backward()
        update.step()
    product = (layers[2] @ layers[1] @ layers[0]).detach()
    return ((product - target).square().sum() / target.square().sum()).item()


@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
def test_errors_are_those_of_a_plain_loop_at_the_same_effective_rate(optimizer: str) -> None:
    errors = final(targets=("rotation",), steps=15)
    assert errors["rotation", 16, optimizer] == pytest.approx(alone(optimizer, 0.1, 15), rel=1e-9)


def test_from_the_identity_a_full_batch_stops_at_zero_where_momentum_and_positive_targets_do_not() -> None:
    errors = final(targets=("minus_identity", "positive"), steps=1500)
    assert errors["minus_identity", 16, "sgd"] == pytest.approx(1, abs=0.01)  # the distance of 0
    assert errors["minus_identity", 16, "momentum"] < 0.01
    assert errors["minus_identity", 4, "momentum"] < 0.01
    assert errors["positive", 16, "sgd"] < 1e-6


def test_eigenvalues_are_kept_of_each_start_for_full_and_small_batches() -> None:
    options = {"size": 4, "examples": 16, "batches": (16, 8, 4, 2), "optimizers": ("sgd",), "targets": ("minus_identity",)}
    chosen = options | {"starts": ("identity", "loose", "orthogonal"), "seeds": (0,), "rates": (0.1,), "steps": 1500}
    rows = [row for cell in STUDIES["convergence"].build(HERE, **chosen) for row in cell.measure()]
    kept = pd.DataFrame([row.values for row in rows if row.table == "eigenvalues"])
    assert set(kept["batch"]) == {16, 4}
    full = kept[kept["batch"] == 16].set_index(["start", "step"])
    assert (full.loc[("identity", 0), "real"] == 1).all()
    assert full.loc[("identity", 1500), "real"].abs().max() < 0.05, "held at 0"
    sizes = full.loc[("orthogonal", 0), ["real", "imaginary"]].pow(2).sum(axis=1)
    assert sizes.to_numpy() == pytest.approx(1)
    assert len(full.loc[("loose", 1500)]) == 4


def test_the_largest_batch_must_be_all_examples() -> None:
    with pytest.raises(UsageError, match=r"batches=\[8, 4\].* 16 "):
        final(batches=(8, 4), targets=("rotation",), steps=2)
