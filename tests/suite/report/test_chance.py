"""Every rule against chance: of methods that are all equal, at most one experiment in twenty may find what the claim says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from idinit_suite.report.measured import Curve, Measured
from idinit_suite.report.outcomes import SILENT
from idinit_suite.report.verdicts import CLAIMS, decide
from idinit_suite.report.verdicts.accuracy import TIE
from idinit_suite.statistics.significance import ALPHA

DRAWS = 200
EPOCHS = np.arange(17.0)
RECIPES = [(rate, decay) for rate in (0.03, 0.1, 0.3) for decay in (0.0, 5e-4, 5e-3)]
OF_A_NETWORK = ("idinit", "xavier", "kaiming", "zero_gamma", "fixup", "skipinit", "rezero", "rezero_bn", "zero", "default")
OF_TEXTS = tuple(
    f"{model}-{init}" for model in ("cnn", "rnn", "bert") for init in ("default", "kaiming", "xavier", "zero", "idinit")
)


def variant(rng: np.random.Generator, luck: np.ndarray, failing: float, above: float = 0.0) -> Measured:
    """Runs of 16 epochs that end around 81 %: what a seed shares with those of other variants, and noise of about a point.

    Validation curves cross 60, 70 and 80 %, the last not in every run; losses go on falling with some noise. A share of the
    runs fails: half of these diverge, half end at chance.
    """
    n = len(luck)
    ends = 0.81 + above + luck + 0.008 * rng.standard_normal(n)
    speeds = np.exp(-EPOCHS / (4 + 0.4 * rng.standard_normal((n, 1))))
    noise = rng.standard_normal((n, len(EPOCHS)))
    accuracies = (ends[:, None] + 0.01) * (1 - speeds) + 0.008 * noise
    losses = 2 + 5 * speeds - 0.01 * EPOCHS - 0.02 * noise
    fails = rng.random(n) < failing
    accuracies[fails] = 0.1
    ends = np.where(fails, np.where(rng.random(n) < 0.5, math.nan, 0.1), ends)
    curves = {seed: Curve(100 * EPOCHS, EPOCHS, accuracies[seed], losses[seed]) for seed in range(n)}
    return Measured(dict(enumerate(ends.tolist())), curves, chance=0.1, last=16.0)


def experiment(claim: str, rng: np.random.Generator, seeds: int, failing: float) -> dict[str, object]:
    """Variants that all draw from one distribution; where the claim is that they are equal, that differ by its margin."""
    info = CLAIMS[claim].info
    luck = 0.008 * rng.standard_normal(seeds)
    if info.maps:  # some recipes are harder than others, for all alike
        hard = {recipe: rng.random() if failing else 0.0 for recipe in RECIPES}
        names = ("idinit", "kaiming", "idinit_bn", "kaiming_bn")
        return {name: {recipe: variant(rng, luck, share) for recipe, share in hard.items()} for name in names}
    names = OF_TEXTS if info.by_model else (*info.needs, *(info.against or ())) or OF_A_NETWORK
    names = OF_A_NETWORK if info.against is None and not info.by_model else names
    margins = dict.fromkeys(info.against, TIE) if claim == "C3" else {}
    return {name: variant(rng, luck, failing, margins.get(name, 0.0)) for name in names}


@pytest.mark.parametrize("failing", [0.0, 0.5])
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("claim", list(CLAIMS))
def test_no_rule_finds_more_than_chance_does(claim: str, seeds: int, failing: float) -> None:
    rng = np.random.default_rng([seeds, int(claim[1:])])
    outcomes = [decide(claim, experiment(claim, rng, seeds, failing))[0] for _ in range(DRAWS)]
    assert sum(outcome not in SILENT for outcome in outcomes) > DRAWS / 10, "otherwise the rule was hardly tried"
    found = sum(outcome in ("reproduced", "partly") for outcome in outcomes)
    assert found <= stats.binom.ppf(0.99, DRAWS, ALPHA), f"found in {found} of {DRAWS} experiments"
