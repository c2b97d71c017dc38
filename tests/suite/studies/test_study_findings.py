"""Verdicts follow from the rows: what would contradict a claim makes it fail."""

from __future__ import annotations

from itertools import product

import pandas as pd
import pytest

from idinit_suite.report.outcomes import Finding
from idinit_suite.report.table import Table
from idinit_suite.studies.findings import FINDINGS, Findings

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
    (found,) = FINDINGS["convergence"].build({"final": pd.DataFrame(rows)}).claims.values()
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


def rank(zero_padded: int, idinit: int, coarse: int = 10, seeds: int = 3) -> Finding:
    """Ranks at thresholds of 1e-6 and of 1e-2 (IDInit's)."""
    common = {"data": "digits", "inputs": 64, "width": 256, "step": 9, "layer": 2}
    ranks = [
        common | {"start": start, "seed": seed, "threshold": threshold, "rank": found}
        for start, fine, large in (("zero_padded", zero_padded, 10), ("idinit", idinit, coarse))
        for threshold, found in ((0.1, 1), (0.01, large), (1e-6, fine), (1e-9, 256))
        for seed in range(seeds)
    ]
    losses = [{"data": "digits", "width": 256, "start": s, "step": 9, "accuracy": 0.9} for s in ("zero_padded", "idinit")]
    tables = {"ranks": pd.DataFrame(ranks), "losses": pd.DataFrame(losses), "spectrum": pd.DataFrame()}
    (found,) = FINDINGS["rank"].build(tables).claims.values()
    return found


@pytest.mark.parametrize(
    ("zero_padded", "idinit", "coarse", "seeds", "outcome"),
    [
        (64, 200, 100, 3, "reproduced"),
        (64, 200, 10, 3, "partly"),  # by small singular values alone
        (90, 200, 100, 3, "not reproduced"),  # the zero-padded identity leaves the width of the input, too
        (64, 64, 64, 3, "not reproduced"),
        (64, 200, 100, 2, "not enough runs"),
    ],
)
def test_c11_holds_if_it_does_at_every_threshold(zero_padded: int, idinit: int, coarse: int, seeds: int, outcome: str) -> None:
    found = rank(zero_padded, idinit, coarse, seeds)
    assert found.outcome == outcome
    assert (
        f"above 1e-06 of the largest are {idinit} singular values with IDInit and {zero_padded} zero-padded" in found.evidence
    )


def branch(losses: dict[tuple[str, float], list[float]], spread: float = 0.0) -> Finding:
    rows = [
        {"task": "digits", "width": 256, "optimizer": "adagrad", "start": start, "rate": rate, "step": step}
        | {"mean": loss, "lowest": loss - spread, "highest": loss + spread}
        for (start, rate), curve in losses.items()
        for step, loss in enumerate(curve)
    ]
    (found,) = FINDINGS["branch"].build({"curves": pd.DataFrame(rows)}).claims.values()
    return found


def test_c14_compares_each_start_at_its_best_rate_and_takes_none_that_diverges() -> None:
    nan = float("nan")
    ours = {("identity", 0.1): [2.0, 1.0], ("identity", 0.01): [2.0, 1.9]}
    slower = {("kaiming", 0.1): [2.0, 1.2], ("kaiming", 1.0): [0.1, nan]}
    assert branch(ours | slower).outcome == "reproduced"
    assert branch(ours | slower, spread=0.06).outcome == "not reproduced", "the seeds differ by more"
    faster = {("partial_identity", 0.01): [2.0, 0.5]}
    found = branch(ours | slower | faster)
    assert found.outcome == "not reproduced"
    assert "IDI 1.5, the best of the others 1.25 (partial identity)" in found.evidence


def dead(zeros: float, fixup: float, idiz: float) -> Finding:
    kept = dict.fromkeys(("zero_end", "zero_gamma", "zero_end_bn"), zeros) | {"fixup": fixup}
    kept |= {"idiz_1e-6": idiz, "idiz_1e-6_bn": idiz}
    tables = {
        "unmoved": pd.DataFrame(
            [
                {"start": start, "part": "both", "tolerance": tolerance, "share": share}
                for start, share in kept.items()
                for tolerance in (0.0, 1e-3)
            ]
        ),
        "shares": pd.DataFrame(
            [{"start": start, "part": "both", "no_gradient": 0.1, "dead_units": 0.0, "loss": 0.1} for start in kept]
        ),
        "maps": pd.DataFrame(),
    }
    (found,) = FINDINGS["dead"].build(tables).claims.values()
    return found


@pytest.mark.parametrize(
    ("zeros", "fixup", "idiz", "outcome"),
    [
        (0.6, 0.7, 0.02, "reproduced"),
        (0.6, 0.0, 0.02, "partly"),  # the claim is about Fixup, too
        (0.6, 0.7, 0.2, "not reproduced"),
        (0.6, 0.6, 0.6, "not reproduced"),  # IDIZ is like the others
        (0.4, 0.0, 0.02, "not reproduced"),
        (0.4, 0.0, 0.2, "not reproduced"),
    ],
)
def test_c12_is_over_half_against_almost_none(zeros: float, fixup: float, idiz: float, outcome: str) -> None:
    found = dead(zeros, fixup, idiz)
    assert found.outcome == outcome
    assert f"exact zeros {100 * zeros:.1f} %" in found.evidence and f"Fixup {100 * fixup:.1f} %" in found.evidence


def depth(learns: dict[str, int]) -> Finding:
    """So many of three seeds learn in a deep network, at one of two rates."""
    rows = [
        {"depth": layers, "start": start, "rate": rate, "seed": seed, "loss": loss}
        for layers in (8, 110)
        for start, deep in learns.items()
        for seed in (0, 1, 2)
        for rate, loss in ((0.01, float("nan")), (0.001, 1.0 if seed < deep or layers == 8 else 2.3))
    ]
    (found,) = FINDINGS["depth"].build({"losses": pd.DataFrame(rows)}).claims.values()
    return found


@pytest.mark.parametrize(
    ("idinit", "xavier", "kaiming", "outcome"),
    [
        (3, 0, 0, "reproduced"),
        (3, 3, 0, "partly"),
        (3, 2, 1, "undecided"),  # some runs fail
        (3, 3, 3, "not reproduced"),
        (2, 0, 0, "not reproduced"),
        (0, 0, 0, "not reproduced"),
    ],
)
def test_c1_is_about_networks_of_a_hundred_layers_and_more(idinit: int, xavier: int, kaiming: int, outcome: str) -> None:
    found = depth({"idinit": idinit, "xavier": xavier, "kaiming": kaiming})
    assert found.outcome == outcome
    assert f"idinit {110 if idinit == 3 else 8}" in found.evidence and f"kaiming {110 if kaiming == 3 else 8}" in found.evidence


def isometry(near: dict[str, float]) -> Findings:
    spectra = pd.DataFrame(
        [
            {"network": n, "activation": "relu", "start": "idinit", "depth": d, "near": share if d == 100 else 1.0}
            | {"lowest": 0.5, "median": 1.0, "highest": 2.0, "mean_square": 1.0}
            for n, share in near.items()
            for d in (2, 100)
        ]
    )
    row = {"activation": "relu", "signs": "positive", "tau": 1.0, "depth": 4, "mean_square": 1.0, "lowest": 1.0, "highest": 1.0}
    lanczos = pd.DataFrame([{"width": 64, "seconds": 0.1, "relative_error": 1e-9}])
    empty = pd.DataFrame([{"activation": "relu", "depth": 100}])
    inputs = pd.DataFrame(
        [
            {"network": n, "activation": "relu", "start": "idinit", "depth": 100, "signs": signs, "near": share * kept}
            for n, share in near.items()
            for signs, kept in (("positive", 1.0), ("both", 0.5), ("rectified", 0.625))
        ]
    )
    tables = {"spectra": spectra, "inputs": inputs, "tau": pd.DataFrame([row]), "lanczos": lanczos}
    return FINDINGS["isometry"].build(tables | {"values": empty, "signals": empty})


@pytest.mark.parametrize(
    ("mlp", "resnet", "outcome"), [(1.0, 1.0, "reproduced"), (1.0, 0.4, "partly"), (0.1, 0.4, "not reproduced")]
)
def test_c13_asks_for_singular_values_near_one_at_the_greatest_depth(mlp: float, resnet: float, outcome: str) -> None:
    (found,) = isometry({"mlp": mlp, "resnet": resnet}).claims.values()
    assert found.outcome == outcome
    assert "through 100 layers, ReLU and positive inputs: MLP 0.5 to 2, ResNet 0.5 to 2" in found.evidence


def test_c13_tells_what_is_left_of_an_input_that_is_not_positive() -> None:
    found = isometry({"mlp": 1.0, "resnet": 0.4})
    assert found.claims["C13"].evidence.endswith(
        "; of those at an input of both signs, through 100 layers, are near 1: MLP 50 %"
    )
    rows = [[cell.text for cell in row] for block in found.text if isinstance(block, Table) for row in block.rows]
    assert ["idinit", "100 / 50 / 62", "40 / 20 / 25"] in rows
