"""Verdicts: what the runs of one scale say of a claim of the paper.

Adding a claim is writing one function that gets the variants' numbers and returns a `Finding`: an outcome, its evidence in one
sentence, and the number that a card of the report shows. Variants are meant by name: ``kaiming`` is the variant of that name,
on the experiment's network without BatchNorm. What the outcomes mean is in `idinit_suite.report.outcomes`, the tests of
differences in `idinit_suite.statistics.significance`. Each rule is simulated in the tests with methods that are all equal: it
must not find a difference in more than one of twenty such experiments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
from scipy import stats

from idinit.registry import Registry

from ..archive.recipe_grid import maps
from ..archive.variants import MARGIN, Scale, Variant, counted
from ..statistics.estimates import estimate
from ..statistics.significance import ALPHA, ENOUGH, Gain, equivalence, gain, holm, more_often, paired
from .compute_to_loss import needed, savings, typical
from .formatting import plain
from .measured import Measured, measured
from .outcomes import SILENT, Curves, Finding, Headline, Outcome, Verdict

TIE = 0.01  # final accuracies are equivalent if their means differ by less
GOOD = 0.05  # a recipe is a good one if it comes this close to the best
SPEED = 60  # percent: the accuracy to which C8 counts epochs
SPEED_THRESHOLDS = (80, 70, 60)  # percent; the paper's is the first


Cells = Mapping[tuple[float, float], Measured]  # a variant's runs by recipe
Rule = Callable[..., Finding]  # of the variants by name and the names of those to compare with


@dataclass(frozen=True)
class VerdictInfo:
    """Which variants a verdict is about.

    Attributes:
        needs: Names of the variants without which there is no verdict.
        against: Names of those to compare with, of which one must be there; None for all others.
        maps: Whether the claim is about all recipes of a grid: the rule then gets `Cells`.
        by_model: Whether variants are called ``model-initializer``, and the rule itself looks which models have enough runs.
    """

    needs: tuple[str, ...]
    against: tuple[str, ...] | None
    maps: bool = False
    by_model: bool = False


CLAIMS: Registry[Rule, VerdictInfo] = Registry("claim")


def judge(claim: str, scale: Scale, variants: Sequence[Variant]) -> Verdict:
    """The verdict on a claim from the runs of one scale.

    Args:
        claim: Its id.
        scale: The scale; it opens the evidence, since a verdict holds for no other.
        variants: All variants at that scale; only their primary recipes count.

    Raises:
        UsageError: If no verdict function has that name.
    """
    entry = CLAIMS[claim]
    primary = {variant.name: variant for variant in variants if variant.primary}
    if scale.budget == "smoke":
        return Verdict(claim, "not run at this scale", f"{scale}: this budget only shows that everything runs.")
    found: Mapping[str, Measured | Cells] = {name: measured(variant) for name, variant in primary.items()}
    if entry.info.maps and set(entry.info.needs) <= found.keys():
        found = {name: {at: measured(variant) for at, variant in one.cells.items()} for name, one in maps(variants).items()}
        if not set(entry.info.needs) <= found.keys():
            return Verdict(claim, "not run at this scale", f"{scale}: the grid is not complete.")
    outcome, sentence, headline = decide(claim, found)
    against = entry.info.against
    named = primary if against is None else [name for name in primary if name in (*entry.info.needs, *against)]
    edges = ", ".join(f"{name} ({primary[name].edge})" for name in named if primary[name].edge)
    remark = f" Learning rates at an edge of those searched: {edges}." if edges and outcome not in SILENT else ""
    if headline and not headline.interval and not entry.info.maps:
        headline = replace(
            headline, curves=_curves({name: one for name, one in found.items() if name in named and isinstance(one, Measured)})
        )
    return Verdict(claim, outcome, f"{scale}: {sentence}.{remark}", headline)


def decide(claim: str, found: Mapping[str, Measured | Cells]) -> Finding:
    """Decides on a claim from the numbers of the variants: no verdict without ``ENOUGH`` seeds of each.

    Args:
        claim: Its id.
        found: The variants by name, `Cells` for a claim about recipes.
    """
    entry = CLAIMS[claim]
    needs, against = entry.info.needs, entry.info.against
    others = [name for name in found if name not in needs]
    rivals = [name for name in (others if against is None else against) if name in found]
    missing = [name for name in needs if name not in found] or ([] if rivals or not against else list(against))
    if missing:
        return Finding("not run at this scale", f"there are no runs of {_listed(missing)}")
    if entry.info.by_model:
        return entry.build(found, rivals)
    seeds = {name: _seeds(found[name]) for name in (*needs, *rivals)}
    if against is None:  # the claim does not name them: those with few runs are left out
        rivals = [name for name in rivals if len(seeds[name]) >= ENOUGH]
    shared = frozenset.intersection(*(seeds[name] for name in (*needs, *rivals)))
    if len(shared) < ENOUGH or (against is None and not rivals):
        evidence = f"{ENOUGH} seeds in common are needed; {_few(found, seeds)}"
        return Finding("not enough runs", evidence, _too_few(len(shared)))
    outcome, sentence, headline = entry.build(found, rivals)
    absent = [name for name in against or () if name not in found]
    if absent:
        sentence += f"; not run: {', '.join(absent)}"
        outcome = "partly" if outcome == "reproduced" else outcome
    headline = replace(headline, n=len(shared)) if headline else None
    return Finding(outcome, f"{counted(len(shared), 'seed')} in common, {sentence}", headline)


def combine(gains: Sequence[Gain]) -> Outcome:
    """The outcome of a claim that names several differences: none is believed before Holm's method finds one."""
    values = [one.p for one in gains]
    if any(holm(values)):
        return "reproduced" if max(values) <= ALPHA else "partly"
    return "undecided" if all(one.mean > 0 for one in gains) else "not reproduced"


@CLAIMS.register("C1", VerdictInfo(needs=("idinit",), against=("xavier", "kaiming")))
def _fails_without(found: Mapping[str, Measured], rivals: Sequence[str]) -> Finding:
    """Xavier and Kaiming fail on a deep residual network without BatchNorm in every run, IDInit trains it in every run."""
    trains = not found["idinit"].failed
    fail = [found[name].failed == found[name].seeds for name in rivals]
    outcome: Outcome = "not reproduced"
    if trains and any(found[name].failed for name in rivals):
        outcome = "reproduced" if all(fail) else "partly" if any(fail) else "undecided"
    described = ", ".join(f"{name} {_training(found[name])}" for name in ("idinit", *rivals))
    runs, failures = (sum(len(getattr(found[name], what)) for name in rivals) for what in ("seeds", "failed"))
    number = f"{_trained(found['idinit'])} against {runs - failures} of {runs}"
    headline = Headline(number, f"runs that train: IDInit against {_listed(rivals)}")
    return Finding(outcome, f"{described}; {_bar(found['idinit'])}", headline)


@CLAIMS.register(
    "C2", VerdictInfo(needs=("idinit",), against=("kaiming", "zero_gamma", "fixup", "skipinit", "rezero", "rezero_bn", "zero"))
)
def _first_to_threshold(found: Mapping[str, Measured], rivals: Sequence[str]) -> Finding:
    """IDInit needs the fewest epochs to 80 % accuracy.

    Where no variant gets that far in all of its runs, the highest lower threshold to which one does stands in. Partly means
    first in the mean, and by more than chance before at least half of the methods that get there at all.
    """
    names = ("idinit", *rivals)
    for threshold in SPEED_THRESHOLDS:
        epochs = {name: found[name].epochs_to(threshold) for name in names}
        if any(all(map(math.isfinite, own.values())) for own in epochs.values()):
            break
    else:
        evidence = f"no variant reached {SPEED_THRESHOLDS[-1]} % validation accuracy in all of its runs"
        return Finding("not run at this scale", evidence)
    gains = {name: gain(_sooner(epochs["idinit"], epochs[name], found[name].last)) for name in rivals}
    shown = {name: held for name, held in zip(gains, holm([one.p for one in gains.values()]), strict=True) if held}
    contenders = [name for name in rivals if any(map(math.isfinite, epochs[name].values()))]
    outcome: Outcome = "not reproduced"
    if all(one.mean >= 0 for one in gains.values()):
        outcome = "undecided"
        if all(one.p <= ALPHA for one in gains.values()):
            outcome = "reproduced"
        elif contenders and 2 * sum(name in shown for name in contenders) >= len(contenders):
            outcome = "partly"
    ahead = [name for name, one in gains.items() if one.mean < 0]
    places = [
        f"sooner by more than chance than {_listed(list(shown)) if shown else 'none'}",
        *([f"later in the mean than {_listed(ahead)}"] if ahead else []),
    ]
    ranked = sorted(names, key=lambda name: _middle(epochs[name]))
    described = ", ".join(f"{name} {_epochs(epochs[name], found[name].last)}" for name in ranked)
    low = "" if threshold == SPEED_THRESHOLDS[0] else f" (no variant reached {SPEED_THRESHOLDS[0]} % in all runs)"
    place = 1 + sum(_middle(epochs[name]) < _middle(epochs["idinit"]) for name in rivals)
    headline = Headline(f"place {place} of {len(names)}", f"by median epochs to {threshold} % accuracy")
    evidence = f"median epochs to {threshold} % validation accuracy{low}: {described}; idinit is {', '.join(places)}"
    return Finding(outcome, evidence, headline)


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
        tied = "a tie" if values[-1] <= ALPHA else "no tie" if apart[-1] else "perhaps a tie"
        described.append(f"{tied} with {name} ({_score(found[name])}, {_points(gain(differences))})")
    outcome: Outcome = "not reproduced" if any(apart) else "undecided"
    if all(value <= ALPHA for value in values):
        outcome = "reproduced"
    elif any(holm(values)):
        outcome = "partly"
    rule = f"a tie is a difference within {100 * TIE:g} point by two one-sided tests at {100 * ALPHA:g} %, where both train"
    worst = max(rivals, key=lambda name: abs(gain(paired(mine.finals, found[name].finals)).mean))
    headline = _difference(gain(paired(mine.finals, found[worst].finals)), f"IDInit minus {worst}, final accuracy")
    return Finding(outcome, f"idinit ({_score(mine)}): {'; '.join(described)}; {rule}", headline)


@CLAIMS.register("C4", VerdictInfo(needs=("neither", "idic", "idizc", "both"), against=()))
def _both_ideas_help(found: Mapping[str, Measured], rivals: Sequence[str]) -> Finding:
    """Final accuracy rises from neither idea to IDIC and to IDIZC alone, and from each of these to both.

    Where both ideas together fail in some run, or are not above neither in the mean, it is not reproduced.
    """
    steps = (("idic", "neither"), ("idizc", "neither"), ("both", "idic"), ("both", "idizc"))
    gains = {pair: gain(paired(found[pair[0]].finals, found[pair[1]].finals)) for pair in steps}
    whole = gain(paired(found["both"].finals, found["neither"].finals))
    outcome = combine(list(gains.values())) if whole.mean > 0 and not found["both"].failed else "not reproduced"
    scores = ", ".join(f"{name} {_score(found[name])}" for name in ("neither", "idic", "idizc", "both"))
    described = "; ".join(f"{a} over {b} {_points(one)}" for (a, b), one in gains.items())
    headline = _difference(whole, "both ideas over neither, final accuracy")
    return Finding(outcome, f"{scores}; {described}; both over neither {_points(whole)}", headline)


@CLAIMS.register("C5", VerdictInfo(needs=("idinit", "kaiming"), against=(), maps=True))
def _wider_region(found: Mapping[str, Cells], rivals: Sequence[str]) -> Finding:
    """IDInit trains with more recipes of a grid than Kaiming, on the same network: without BatchNorm, and with it.

    Runs are paired by recipe and seed, and those counted in which one of the two trains and the other does not.
    """
    pairs = (("idinit", "kaiming"), ("idinit_bn", "kaiming_bn"))
    gains = [_more_recipes(found[a], found[b]) for a, b in pairs if {a, b} <= found.keys()]
    everything = [one for cells in found.values() for one in cells.values()]
    best = max((estimate(one.finals.values()).mean for one in everything), default=math.nan)
    described, trained = [], {}
    for name, cells in found.items():
        trained[name] = trains = sum(not one.failed for one in cells.values())
        good = sum(not one.diverged and one.test.mean >= best - GOOD for one in cells.values())
        described.append(f"{name} trains in {trains} and is good in {good} of {len(cells)}")
    rules = f"{_bar(everything[0])}, good is within {100 * GOOD:g} points of the best"
    number = f"{trained['idinit']} against {trained['kaiming']} of {len(found['idinit'])}"
    headline = Headline(number, "recipes that train: IDInit against Kaiming")
    return Finding(combine(gains), f"{', '.join(described)} recipes; {rules}", headline)


@CLAIMS.register("C6", VerdictInfo(needs=("idinit",), against=None))
def _trains_without_warmup(found: Mapping[str, Measured], rivals: Sequence[str]) -> Finding:
    """A network without shortcuts trains from IDInit without warm-up in every run, which at least half of the others do not."""
    failing = [name for name in rivals if found[name].failed == found[name].seeds]
    outcome: Outcome = "not reproduced"
    if not found["idinit"].failed:
        outcome = "reproduced" if 2 * len(failing) >= len(rivals) else "holds, not distinctive"
    train = sum(not found[name].failed for name in rivals)
    described = ", ".join(f"{name} {_training(found[name])}" for name in ("idinit", *rivals))
    headline = Headline(
        f"{_trained(found['idinit'])} runs", f"of IDInit train; of {len(rivals)} other methods {train} train in every run"
    )
    evidence = f"{described}; of the {len(rivals)} others {train} train in every run; {_bar(found['idinit'])}"
    return Finding(outcome, evidence, headline)


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
        return Finding("not enough runs", evidence, _too_few(few))
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
            f"{f'{model} ' if model else ''}idinit {_score(rows['idinit'])}, standard deviation {100 * ends['idinit'].sd:.2f}; "
            f"best of the others {first} {_score(rows[first])}{steadiest}"
        )
    won = sum(counts.values())
    p = float(stats.binomtest(won, places, chance, alternative="greater").pvalue)
    outcome: Outcome = "not reproduced"
    if p <= ALPHA:
        outcome = "reproduced" if won == places else "partly"
    elif won > chance * places:
        outcome = "undecided"
    seeds = sorted({len(one.seeds) for rows in models.values() for one in rows.values()})
    n = counted(seeds[0], "seed") if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    label = f"first places (mean, deviation); equal methods would win {chance * places:.1f}"
    evidence = (
        f"{n}: best mean in {counts['mean']} and the smallest standard deviation in {counts['sd']} of {len(models)} models; "
        f"equal initializers would win {chance * places:.1f} of these {places} first places (p = {p:.2g}). "
        f"{'. '.join(described)}"
    )
    return Finding(outcome, evidence, Headline(f"{won} of {places}", label, n=seeds[0]))


@CLAIMS.register("C8", VerdictInfo(needs=("idinit", "default"), against=()))
def _gains_on_the_default(found: Mapping[str, Measured], rivals: Sequence[str]) -> Finding:
    """IDInit ends with a higher accuracy than the default initialization, and is sooner at 60 %."""
    mine, other = found["idinit"], found["default"]
    higher = gain(paired(mine.finals, other.finals))
    epochs, theirs = mine.epochs_to(SPEED), other.epochs_to(SPEED)
    sooner = gain(_sooner(epochs, theirs, other.last))
    evidence = (
        f"idinit {_score(mine)}, default {_score(other)} ({_points(higher)}); median epochs to {SPEED} % validation accuracy: "
        f"idinit {_epochs(epochs, mine.last)}, default {_epochs(theirs, other.last)}{_p(sooner)}"
    )
    return Finding(combine([higher, sooner]), evidence, _difference(higher, "over the default initialization, final accuracy"))


@CLAIMS.register("C9", VerdictInfo(needs=("idinit", "default"), against=()))
def _less_compute(found: Mapping[str, Measured], rivals: Sequence[str]) -> Finding:
    """IDInit first reaches the final loss of the default initialization after less compute than that itself.

    A seed in which it never does is kept: with one, no saving is shown.
    """
    mine, other = found["idinit"], found["default"]
    saved = savings(mine, other)
    tested = gain(list(saved.values()))
    steps, theirs = needed(mine, other), needed(other, other)
    reached = sum(map(math.isfinite, steps.values()))
    middle = typical(saved)
    amount = f", with {100 * middle:.1f} % less compute in the median" if middle > 0 else ""
    span = f" (95 % interval of the mean {100 * tested.low:.1f} to {100 * tested.high:.1f} %)" if tested.low > -math.inf else ""
    ends = ", ".join(f"{name} ends at {_mean(one.loss)}" for name, one in (("idinit", mine), ("default", other)))
    evidence = (
        f"idinit reaches the final loss of default in {reached} of {len(theirs)} seeds{amount}{span if amount else ''}"
        f"{_p(tested)}; {ends}"
    )
    number = f"{100 * middle:.1f} % less" if middle > 0 else f"{-100 * middle:.1f} % more" if middle <= 0 else "never"
    headline = Headline(number, "compute to the default's final loss, median", interval=_interval(tested))
    return Finding(combine([tested]), evidence, headline)


def _difference(one: Gain, label: str) -> Headline:
    """A difference of accuracies, in points."""
    return Headline(f"{100 * one.mean:+.1f} points", label, interval=_interval(one))


def _interval(one: Gain) -> tuple[float, float, float] | None:
    """The interval in percent; None where there is none."""
    interval = (100 * one.low, 100 * one.mean, 100 * one.high)
    return interval if all(map(math.isfinite, interval)) else None


def _too_few(seeds: int) -> Headline:
    return Headline(f"{seeds} of {ENOUGH}", "seeds that a verdict needs")


def _trained(one: Measured) -> str:
    return f"{len(one.seeds) - len(one.failed)} of {len(one.seeds)}"


def _curves(found: Mapping[str, Measured]) -> Curves:
    """The mean validation accuracy of each variant over the epochs at which all of its runs were evaluated, IDInit's first."""
    drawn = {}
    for name in sorted(found, key=lambda name: (not name.endswith("idinit"), name)):
        curves = list(found[name].curves.values())
        length = min((len(curve.epoch) for curve in curves), default=0)
        if length > 1:
            means = np.mean([curve.accuracy[:length] for curve in curves], axis=0)
            drawn[name] = tuple((float(x), float(y)) for x, y in zip(curves[0].epoch, means, strict=False))
    return drawn


def _sooner(mine: Mapping[int, float], other: Mapping[int, float], last: float) -> list[float]:
    """By how many epochs a variant was sooner, seed by seed.

    Of a run that never got there only is known that it is later than the last epoch: the other's counts as that, which
    understates the gain; against one that did, the variant's own counts as infinitely late. Where neither did, it is 0.
    """
    both = [(mine[seed], other[seed]) for seed in sorted(mine.keys() & other.keys())]
    return [0.0 if math.isinf(a) and math.isinf(b) else min(b, last) - a for a, b in both]


def _more_recipes(mine: Cells, other: Cells) -> Gain:
    pairs = [(at, seed) for at in mine for seed in mine[at].seeds & other[at].seeds]
    wins = sum(seed not in mine[at].failed and seed in other[at].failed for at, seed in pairs)
    losses = sum(seed in mine[at].failed and seed not in other[at].failed for at, seed in pairs)
    return more_often(wins, losses)


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


def _seeds(one: Measured | Cells) -> frozenset[int]:
    """The seeds of a variant; of one with many recipes those that all of them have."""
    return one.seeds if isinstance(one, Measured) else frozenset.intersection(*(cell.seeds for cell in one.values()))


def _few(found: Mapping[str, Measured | Cells], seeds: Mapping[str, frozenset[int]]) -> str:
    described = []
    for name, own in seeds.items():
        one = found[name]
        numbers = ""
        if isinstance(one, Measured):
            numbers = f" ({_score(one)})" if one.chance else f" (final loss {_mean(one.loss)})"
        described.append(f"{name} has {len(own)}{numbers}")
    return ", ".join(described)


def _bar(one: Measured) -> str:
    return f"a run fails if it diverges or ends at or below {100 * (one.chance + MARGIN):.0f} % test accuracy"


def _training(one: Measured) -> str:
    failed, runs = len(one.failed), len(one.seeds)
    verb = "trains" if not failed else "fails" if failed == runs else f"fails in {failed} of {runs} runs"
    return f"{verb} ({_score(one)})"


def _score(one: Measured) -> str:
    """Final test accuracy with its interval, and how many runs diverged."""
    runs, diverged = len(one.seeds), len(one.diverged)
    if diverged == runs:
        return "diverged" if runs == 1 else f"all {runs} diverged"
    half = "" if math.isnan(one.test.half_width) else f" ± {100 * one.test.half_width:.1f}"
    text = f"{100 * one.test.mean:.1f}{half} %"
    return f"{text}, {diverged} of {runs} diverged" if diverged else text


def _points(one: Gain) -> str:
    """A difference of accuracies with its interval and p-value."""
    interval = "" if math.isnan(one.low) else f" ({100 * one.low:+.1f} to {100 * one.high:+.1f})"
    return f"{100 * one.mean:+.1f} points{interval}{_p(one)}"


def _p(one: Gain) -> str:
    return f", p = {one.p:.2g}"


def _middle(epochs: Mapping[int, float]) -> float:
    return median(epochs.values())


def _epochs(epochs: Mapping[int, float], last: float) -> str:
    """The median epoch; where not all runs got there, how many did."""
    reached, middle = sum(map(math.isfinite, epochs.values())), _middle(epochs)
    text = f"{middle:.3g}" if math.isfinite(middle) else f"> {last:g}"
    return text if reached in (0, len(epochs)) else f"{text} ({reached} of {len(epochs)})"


def _mean(values: Mapping[int, float]) -> str:
    """A loss as a mean with its interval."""
    return plain(estimate(values.values()), 3)


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
