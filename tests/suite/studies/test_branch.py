from __future__ import annotations

from typing import get_args

import pytest
import torch

from idinit_suite.studies.branch.measure import Start, make_start
from idinit_suite.studies.tools.vmapped_training import train_many


@pytest.mark.parametrize("start", get_args(Start))
def test_every_start_leaves_the_branch_almost_silent(start: Start) -> None:
    weights = make_start(start, 128, 64, 0)
    assert weights["first"].shape == (128, 64) and weights["last"].shape == (64, 128)
    assert weights["last"].abs().max() <= (1e-6 if start == "idinit" else 0)
    assert all(torch.equal(weights[name], w) for name, w in make_start(start, 128, 64, 0).items())


def test_partial_and_stacked_identities_differ_in_the_rows_beyond_the_input() -> None:
    eye = torch.eye(64)
    assert torch.equal(make_start("identity", 128, 64, 0)["first"], torch.cat([eye, eye]))
    assert torch.equal(make_start("partial_identity", 128, 64, 0)["first"], torch.cat([eye, torch.zeros(64, 64)]))
    assert torch.allclose(make_start("hadamard", 64, 64, 0)["first"].square().sum(1), torch.ones(64))


@pytest.mark.parametrize(("start", "stay"), [("identity", True), ("idinit", False), ("kaiming", False)])
def test_copies_of_a_row_stay_copies_where_the_last_weight_is_exactly_zero(start: Start, stay: bool) -> None:
    g = torch.Generator().manual_seed(0)
    x, y = (torch.randn(1, 32, 8, generator=g) for _ in range(2))
    weights = {name: w[None] for name, w in make_start(start, 16, 8, 0).items()}

    def loss(w: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (x + torch.relu(x @ w["first"].T) @ w["last"].T - y).square().mean()

    ((_, trained),) = train_many(loss, weights, lambda step: (x, y), rates=[0.1], optimizer="adam", watch=[30])
    upper, lower = trained["first"][0, 0].chunk(2)
    assert not torch.equal(upper, weights["first"][0, :8]), "it learns"
    assert torch.equal(upper, lower) == stay
