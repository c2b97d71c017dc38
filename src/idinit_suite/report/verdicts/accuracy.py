"""Claims on the accuracy at the end: C3, C4, C7 and C8."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import scipy  # its modules are loaded when they are used: scipy.stats takes a second

from ...statistics.estimates import Reached, estimate
from ...statistics.significance import ALPHA, ENOUGH, equivalence, gain, holm, paired
from ...words import pluralize
from ..measured import Measured
from ..outcomes import Finding, Headline, Outcome
from .rules import CLAIMS, VerdictInfo, combine, epochs_saved
from .wording import difference, p_value, points, score, too_few

TIE = 0.01  # final accuracies are equivalent if their means differ by less
SPEED = 60  # percent: the accuracy to which C8 counts epochs


@CLAIMS.register("C3", VerdictInfo(needs=("idinit",), against=("kaiming", "fixup")))
def _ties_at_the_end(found: Mapping[str, Measured], rivals: Sequence[str]) -> Finding:
    """The final accuracy of IDInit about equals that of Kaiming and Fixup: equivalence by two one-sided tests."""
    mine = found["idinit"]
    values, apart, described = [], [], []
    for name in rivals:
        differences = paired(mine.finals, found[name].finals)
        trained = not (mine.failed or found[name].failed)
        values.append(equivalence(differences, TIE) if trained else 1.0)
        beyond = [gain([sign * value - TIE for value in differences]).p for sign in (1, -1)]
        apart.append(not trained or min(beyond) <= ALPHA / 2)
        tied = "a tie" if values[-1] <= ALPHA else "no tie" if apart[-1] else "neither a tie nor a difference shown"
        described.append(f"{tied} with {name} ({score(found[name])}, {points(gain(differences))})")
    outcome: Outcome = "not reproduced" if any(apart) else "undecided"
    if all(value <= ALPHA for value in values):
        outcome = "reproduced"
    elif any(holm(values)):
        outcome = "partly"
    rule = f"a tie is a difference within {100 * TIE:g} point by two one-sided tests at {100 * ALPHA:g} %, where both train"
    worst = max(rivals, key=lambda name: abs(gain(paired(mine.finals, found[name].finals)).mean))
    headline = difference(gain(paired(mine.finals, found[worst].finals)), f"IDInit minus {worst}, final accuracy")
    return Finding(outcome, f"idinit ({score(mine)}): {'; '.join(described)}; {rule}", headline)


@CLAIMS.register("C4", VerdictInfo(needs=("neither", "idic", "idizc", "both"), against=()))
def _both_ideas_help(found: Mapping[str, Measured], rivals: Sequence[str]) -> Finding:
    """Final accuracy rises from neither idea to IDIC and to IDIZC alone, and from each of these to both.

    Where both ideas together fail in some run, or are not above neither in the mean, it is not reproduced.
    """
    steps = (("idic", "neither"), ("idizc", "neither"), ("both", "idic"), ("both", "idizc"))
    gains = {pair: gain(paired(found[pair[0]].finals, found[pair[1]].finals)) for pair in steps}
    whole = gain(paired(found["both"].finals, found["neither"].finals))
    outcome = combine(list(gains.values())) if whole.mean > 0 and not found["both"].failed else "not reproduced"
    scores = ", ".join(f"{name} {score(found[name])}" for name in ("neither", "idic", "idizc", "both"))
    described = "; ".join(f"{a} over {b} {points(one)}" for (a, b), one in gains.items())
    headline = difference(whole, "both ideas over neither, final accuracy")
    return Finding(outcome, f"{scores}; {described}; both over neither {points(whole)}", headline)


@CLAIMS.register("C7", VerdictInfo(needs=(), against=None, by_model=True))
def _best_and_steadiest(found: Mapping[str, Measured], rivals: Sequence[str]) -> Finding:
    """On each model IDInit has the best mean test accuracy and the smallest standard deviation over seeds.

    A model counts once IDInit and another initializer have the same seeds, ``ENOUGH`` or more. Each of the two criteria on each
    model is a first place to win; if all initializers were equal, each would win it equally often. Partly means more first
    places than that explains (exact binomial test), reproduced all of them.
    """
    models = _models(found)
    if not models:
        few = max((len(one.seeds) for one in found.values()), default=0)
        evidence = f"{ENOUGH} seeds of idinit and of the other initializers of a model are needed"
        return Finding("not enough runs", evidence, too_few(few))
    places, chance, described = 0, 0.0, []
    counts = {"mean": 0, "sd": 0}
    for model, rows in models.items():
        ends = {name: estimate(one.finals.values()) for name, one in rows.items()}
        means = {name: end.mean for name, end in ends.items()}
        spreads = {name: -ends[name].sd for name, one in rows.items() if not one.failed}
        for criterion, values in (("mean", means), ("sd", spreads)):
            chance = max(chance, 1 / max(2, len(values)))
            places += 1
            others = [value for name, value in values.items() if name != "idinit"]
            counts[criterion] += "idinit" in values and (not others or values["idinit"] > max(others))
        first = max((name for name in rows if name != "idinit"), key=lambda name: means[name])
        steady = max((name for name in spreads if name != "idinit"), key=lambda name: spreads[name], default="")
        steadiest = f", steadiest {steady} {-100 * spreads[steady]:.2f}" if steady else ""
        described.append(
            f"{f'{model} ' if model else ''}idinit {score(rows['idinit'])}, standard deviation {100 * ends['idinit'].sd:.2f}; "
            f"best of the others {first} {score(rows[first])}{steadiest}"
        )
    won = sum(counts.values())
    p = float(scipy.stats.binomtest(won, places, chance, alternative="greater").pvalue)
    outcome: Outcome = "not reproduced"
    if p <= ALPHA:
        outcome = "reproduced" if won == places else "partly"
    elif won > chance * places:
        outcome = "undecided"
    seeds = sorted({len(one.seeds) for rows in models.values() for one in rows.values()})
    n = pluralize(seeds[0], "seed") if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    label = f"first places (mean, deviation); equal methods would win {chance * places:.1f}"
    evidence = (
        f"{n}: best mean in {counts['mean']} and the smallest standard deviation in {counts['sd']} of {len(models)} models; "
        f"equal initializers would win {chance * places:.1f} of these {places} first places (p = {p:.2g}). "
        f"{'. '.join(described)}"
    )
    return Finding(outcome, evidence, Headline(f"{won} of {places}", label, n=seeds[0]))


@CLAIMS.register("C8", VerdictInfo(needs=("idinit", "default"), against=()))
def _gains_on_the_default(found: Mapping[str, Measured], rivals: Sequence[str]) -> Finding:
    """IDInit ends with a higher accuracy than the default initialization, and is sooner at 60 %.

    Training in which no run of either gets that far is too short to test it, unless IDInit fails.
    """
    mine, other = found["idinit"], found["default"]
    higher = gain(paired(mine.finals, other.finals))
    epochs, theirs = mine.epochs_to(SPEED), other.epochs_to(SPEED)
    sooner = gain(epochs_saved(epochs, theirs, other.last))
    evidence = (
        f"idinit {score(mine)}, default {score(other)} ({points(higher)}); median epochs to {SPEED} % validation accuracy, "
        f"interpolated between evaluations: idinit {Reached(tuple(epochs.values()), mine.last)}, "
        f"default {Reached(tuple(theirs.values()), other.last)}{p_value(sooner)}"
    )
    is_tested = mine.failed or any(map(math.isfinite, (*epochs.values(), *theirs.values())))
    outcome = combine([higher, sooner]) if is_tested else "not run at this scale"
    return Finding(outcome, evidence, difference(higher, "over the default initialization, final accuracy"))


def _models(found: Mapping[str, Measured]) -> dict[str, dict[str, Measured]]:
    """Model -> initializer -> runs, of the models of which IDInit and another have the same seeds, enough of them."""
    models: dict[str, dict[str, Measured]] = {}
    for name, one in found.items():
        model, _, initializer = name.rpartition("-")
        models.setdefault(model, {})[initializer] = one
    return {
        model: rows
        for model, rows in models.items()
        if "idinit" in rows and len(rows) > 1
        and len(rows["idinit"].seeds) >= ENOUGH and len({one.seeds for one in rows.values()}) == 1
    }  # fmt: skip
