"""Verdicts follow from the rows: what would contradict a claim makes it fail."""

from __future__ import annotations

from itertools import product

import pandas as pd
import pytest

from idinit.report.studies import FINDINGS, Finding

Learns = dict[tuple[str, str], bool]  # (full or small batches, sgd or momentum) -> whether -I and its like are learned


def convergence(learns: Learns) -> Finding:
    rows = [
        {
            "batch": batch,
            "optimizer": optimizer,
            "rate": rate,
            "target": target,
            "start": "identity",
            "seed": seed,
            "error": 1e-9 if learns["full" if batch == 256 else "small", optimizer] and rate == 0.1 else 1.0,
        }
        for batch, optimizer, rate, target, seed in product(
            (256, 16), ("sgd", "momentum"), (0.01, 0.1), ("minus_identity", "negative"), (0, 1)
        )
    ]
    tables = dict.fromkeys(("curves", "eigenvalues"), pd.DataFrame()) | {"final": pd.DataFrame(rows)}
    (found,) = FINDINGS["convergence"].build(tables).claims
    return found


@pytest.mark.parametrize(
    ("full", "small", "outcome"),
    [(False, True, "reproduced"), (True, True, "not reproduced"), (False, False, "not reproduced")],
)
def test_c10_needs_full_batches_to_fail_and_small_ones_with_momentum_to_succeed(full: bool, small: bool, outcome: str) -> None:
    learns = {("full", "sgd"): full, ("full", "momentum"): False, ("small", "sgd"): False, ("small", "momentum"): small}
    assert convergence(learns).outcome == outcome


def test_c10_tells_noise_and_momentum_apart() -> None:
    learns = {("full", "sgd"): False, ("full", "momentum"): False, ("small", "sgd"): True, ("small", "momentum"): True}
    evidence = convergence(learns).evidence
    assert "full-batch gradient descent learned −I in 0 of 4 runs" in evidence
    assert "noise alone (small batches) in 2 of 2 (batch 16, rate 0.1) seeds" in evidence
    assert "momentum alone (full batch) in 0 of 2 seeds" in evidence
