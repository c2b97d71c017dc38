"""The rules of studies that compare starts, against chance: of starts that are all equal, few experiments find a difference.

C13 and C15 compare nothing: they ask whether IDInit does what the claim says.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from idinit_suite.report.outcomes import Outcome
from idinit_suite.statistics.significance import ALPHA
from idinit_suite.studies.findings import FINDINGS

DRAWS, SEEDS = 100, 3


def convergence(rng: np.random.Generator, seeds: int) -> dict[str, pd.DataFrame]:
    """Targets are hard or easy, and learned alike by all batches and optimizers."""
    keys = ["batch", "optimizer", "rate", "target", "seed"]
    sizes, rates, targets = (256, 64, 16, 4), (0.01, 0.03, 0.1, 0.3), ("minus_identity", "negative")
    rows = list(product(sizes, ("sgd", "momentum"), rates, targets, range(seeds)))
    hard = {(rate, target): rng.random() for rate, target in product(rates, targets)}
    errors = [1.0 if rng.random() < hard[rate, target] else 1e-9 for _, _, rate, target, _ in rows]
    final = pd.DataFrame(rows, columns=keys).assign(start="identity", error=errors)
    return {"final": final}


def rank(rng: np.random.Generator, seeds: int) -> dict[str, pd.DataFrame]:
    """Ranks around the width of the input, lower ones at larger thresholds."""
    rows = []
    for (data, inputs, width), start, seed in product(
        (("digits", 64, 256), ("cifar10", 768, 1536)), ("zero_padded", "idinit"), range(seeds)
    ):
        fine = inputs * rng.uniform(0.9, 1.1)
        found = {0.1: 0.1 * fine, 0.01: fine * rng.uniform(0.5, 1), 1e-6: fine}
        common = {"data": data, "inputs": inputs, "width": width, "start": start, "seed": seed, "step": 9, "layer": 2}
        rows += [common | {"threshold": threshold, "rank": round(value)} for threshold, value in found.items()]
    ranks = pd.DataFrame(rows)
    losses = ranks[["data", "width", "start", "step"]].drop_duplicates().assign(accuracy=0.9)
    return {"ranks": ranks, "losses": losses, "spectrum": pd.DataFrame()}


def dead(rng: np.random.Generator, seeds: int) -> dict[str, pd.DataFrame]:
    """Any share of the weights stays where it was, about the same for all starts."""
    common = rng.random()
    starts = ("zero_end", "fixup", "zero_gamma", "zero_end_bn", "idiz_1e-6", "idiz_1e-6_bn")
    kept = {start: np.clip(common + 0.1 * rng.standard_normal(seeds), 0, 1) for start in starts}
    unmoved = [
        {"start": start, "part": "both", "tolerance": tolerance, "share": share}
        for start, shares in kept.items()
        for share, tolerance in product(shares, (0.0, 1e-3))
    ]
    shares = [{"start": start, "part": "both", "no_gradient": 0.1, "dead_units": 0.0, "loss": 0.1} for start in starts]
    return {"unmoved": pd.DataFrame(unmoved), "shares": pd.DataFrame(shares)}


def branch(rng: np.random.Generator, seeds: int) -> dict[str, pd.DataFrame]:
    """Losses depend on the task, the rate and the seed, and not on the start."""
    rows = []
    starts = ("kaiming", "xavier", "hadamard", "partial_identity", "identity")
    for task, width in product(("teacher", "digits"), (64, 256)):
        for rate in (0.01, 0.1, 1.0):
            easy = rng.random()
            for start in starts:
                losses = easy + 0.1 * rng.standard_normal(seeds) + 1
                common = {"task": task, "width": width, "optimizer": "adagrad", "start": start, "rate": rate, "step": 0}
                rows.append(common | {"mean": losses.mean(), "lowest": losses.min(), "highest": losses.max()})
    return {"curves": pd.DataFrame(rows)}


def depth(rng: np.random.Generator, seeds: int) -> dict[str, pd.DataFrame]:
    """Some depths are harder than others, for all starts alike."""
    rows = []
    for layers in (8, 110, 302, 1002):
        learns = rng.random()
        for start, rate, seed in product(("idinit", "xavier", "kaiming", "default"), (0.01, 0.001), range(seeds)):
            loss = 1.0 if rng.random() < learns else float("nan")
            rows.append({"depth": layers, "start": start, "rate": rate, "seed": seed, "loss": loss})
    return {"losses": pd.DataFrame(rows)}


@pytest.mark.parametrize("study", [depth, convergence, rank, dead, branch], ids=["C1", "C10", "C11", "C12", "C14"])
def test_no_rule_of_a_study_finds_more_than_chance_does(study: object) -> None:
    assert callable(study)
    rng = np.random.default_rng(0)
    found: list[Outcome] = []
    for _ in range(DRAWS):
        (finding,) = FINDINGS[study.__name__].build(study(rng, SEEDS)).claims.values()
        found.append(finding.outcome)
    assert set(found).isdisjoint(("not enough runs", "not run at this scale"))
    count = sum(outcome in ("reproduced", "partly") for outcome in found)
    assert count <= stats.binom.ppf(0.99, DRAWS, ALPHA), f"found in {count} of {DRAWS} experiments"
