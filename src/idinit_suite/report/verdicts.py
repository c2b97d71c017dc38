"""Verdicts: what the runs of one scale say of a claim of the paper.

Adding a claim is writing one function that gets the arms and returns an outcome with its evidence in one sentence. Arms
are meant by name: ``kaiming`` is the arm of that name, on the experiment's network without BatchNorm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from idinit.registry import Registry

from ..archive.recipe_grid import Map, maps
from ..archive.variants import MARGIN, Arm, Scale, counted
from ..statistics.estimates import difference
from .compute_to_loss import needed, saved
from .formatting import percent, plain

Outcome = Literal["reproduced", "partly", "not reproduced", "not run at this scale"]

TIE = 0.01  # final accuracies this close count as equal
GOOD = 0.05  # a recipe is a good one if it comes this close to the best
SPEED = 60  # percent: the accuracy to which C8 counts epochs
SPEED_THRESHOLDS = (80, 70, 60, 50, 40, 30, 20)  # percent; the paper's is the first


@dataclass(frozen=True)
class Verdict:
    """What is said of a claim.

    Attributes:
        claim: Its id.
        outcome: One of the four.
        evidence: One sentence that starts with the scale and gives the numbers.
    """

    claim: str
    outcome: Outcome
    evidence: str


Judge = Callable[..., tuple[Outcome, str]]  # of the arms by name and the names of those to compare with

# Facts of an entry: ``needs`` names the arms without which there is no verdict; ``against`` those to compare with, of
# which one must be there, or None for all other arms.
# ``at_the_end`` says that a claim is about fully trained networks, on which only the paper budget has a say; ``maps`` that
# it is about all recipes of a grid: the function then gets the arms as `Map`s.
CLAIMS: Registry[Judge] = Registry("claim")


def judge(claim: str, scale: Scale, arms: Sequence[Arm]) -> Verdict:
    """The verdict on a claim from the runs of one scale.

    Args:
        claim: Its id.
        scale: The scale; it opens the evidence, since a verdict holds for no other.
        arms: All arms at that scale; only their primary recipes count.

    Raises:
        UsageError: If no verdict function has that name.
    """
    entry = CLAIMS[claim]
    primary = {arm.name: arm for arm in arms if arm.primary}
    needs, against = entry.facts["needs"], entry.facts["against"]
    if against is None:
        against = [name for name in primary if name not in needs]
    rivals = [name for name in against if name in primary]
    missing = [name for name in needs if name not in primary] or ([] if rivals or not against else against)
    if scale.budget == "smoke":
        return Verdict(claim, "not run at this scale", f"{scale}: this budget only shows that everything runs.")
    if missing:
        return Verdict(claim, "not run at this scale", f"{scale}: there are no runs of {_listed(missing)}.")
    judged = maps(arms) if entry.facts.get("maps") else primary
    if not judged.keys() >= set(needs):
        return Verdict(claim, "not run at this scale", f"{scale}: the grid is not complete.")
    outcome, sentence = entry.build(judged, rivals)
    if entry.facts.get("at_the_end") and scale.budget != "paper":
        outcome = "not run at this scale"  # the numbers are shown all the same
    sizes = sorted({len(primary[name].runs) for name in (*needs, *rivals)})
    n = counted(sizes[0], "run") if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]} runs"
    absent = [name for name in against if name not in primary]
    tail = f" Not run: {', '.join(absent)}." if absent else ""
    return Verdict(claim, outcome, f"{scale}, {n} an arm: {sentence}.{tail}")


@CLAIMS.register("C1", needs=("idinit",), against=("xavier", "kaiming"))
def _fails_without(arms: Mapping[str, Arm], rivals: Sequence[str]) -> tuple[Outcome, str]:
    """Xavier and Kaiming fail on a deep residual network without BatchNorm, and IDInit trains it."""
    failed = {name: arms[name].failures for name in ("idinit", *rivals)}
    all_fail = [failed[name] == len(arms[name].runs) for name in rivals]
    outcome: Outcome = "not reproduced"
    if failed["idinit"] == 0 and any(failed[name] for name in rivals):
        outcome = "reproduced" if all(all_fail) else "partly"
    bar = 100 * (arms["idinit"].chance + MARGIN)
    described = ", ".join(f"{name} {_training(arms[name], failed[name])}" for name in ("idinit", *rivals))
    return outcome, f"{described}; to fail is to diverge or to end at or below {bar:.0f} % test accuracy"


@CLAIMS.register("C2", needs=("idinit",), against=("kaiming", "zero_gamma", "fixup", "skipinit", "rezero", "rezero_bn", "zero"))
def _first_to_threshold(arms: Mapping[str, Arm], rivals: Sequence[str]) -> tuple[Outcome, str]:
    """IDInit needs the fewest epochs to 80 % accuracy.

    Where no arm gets that far, there is no verdict; the highest threshold that one did reach is told instead.
    """
    names = ("idinit", *rivals)
    for threshold in SPEED_THRESHOLDS:
        reached = {name: arms[name].reached(threshold) for name in names}
        if any(r.count for r in reached.values()):
            break
    else:
        return "not run at this scale", f"no arm reached {SPEED_THRESHOLDS[-1]} % validation accuracy"
    mine = reached["idinit"]
    ahead = [name for name in rivals if reached[name].rank < mine.rank]
    level = [name for name in rivals if reached[name].rank == mine.rank]
    if ahead:
        outcome: Outcome = "not reproduced"
        place = f"{_listed(ahead)} came before idinit"
    else:
        outcome = "partly" if level else "reproduced"
        place = f"idinit came first{f', level with {_listed(level)}' if level else ''}"
    described = ", ".join(f"{name} {reached[name]}" for name in sorted(names, key=lambda name: reached[name].rank))
    stand_in = ""
    if threshold != SPEED_THRESHOLDS[0]:
        outcome = "not run at this scale"
        stand_in = f"no arm reached {SPEED_THRESHOLDS[0]} %; "
    return outcome, f"{stand_in}{place} in epochs to {threshold} % validation accuracy ({described})"


@CLAIMS.register("C3", needs=("idinit",), against=("kaiming", "fixup"), at_the_end=True)
def _ties_at_the_end(arms: Mapping[str, Arm], rivals: Sequence[str]) -> tuple[Outcome, str]:
    """The final accuracy of IDInit about equals that of Kaiming and Fixup."""
    mine = arms["idinit"].test
    ties, described = [], []
    for name in rivals:
        apart, half = difference(mine, arms[name].test)
        tied = abs(apart) <= TIE or abs(apart) <= half  # false for NaN: a rival that diverged, or no interval
        ties.append(tied)
        points = "" if not (mine.n and arms[name].test.n) else f", {100 * apart:+.1f} points" + _plus_minus(half)
        described.append(f"{'a tie' if tied else 'no tie'} with {name} ({_score(arms[name])}{points})")
    outcome: Outcome = "reproduced" if all(ties) else "partly" if any(ties) else "not reproduced"
    rule = f"a tie is a difference of at most {100 * TIE:g} point, or one whose 95 % interval covers 0"
    return outcome, f"idinit ({_score(arms['idinit'])}): {'; '.join(described)}; {rule}"


@CLAIMS.register("C4", needs=("neither", "idic", "idizc", "both"), against=())
def _both_ideas_help(arms: Mapping[str, Arm], rivals: Sequence[str]) -> tuple[Outcome, str]:
    """Final accuracy rises from neither idea over IDIC and IDIZC to both.

    Reproduced means that the means stand in this order and that, with several seeds, the 95 % interval of the gain of
    both over neither excludes 0. An arm of which every run diverged stands below all others.
    """
    order = ("neither", "idic", "idizc", "both")
    means = [arms[name].test.mean if arms[name].test.n else 0.0 for name in order]
    gain, half = difference(arms["both"].test, arms["neither"].test)
    outcome: Outcome = "not reproduced"
    if means == sorted(set(means)):
        outcome = "partly" if gain <= half else "reproduced"
    elif means[-1] == max(means) and means[-1] > means[0]:
        outcome = "partly"
    known = arms["both"].test.n and arms["neither"].test.n
    gained = f"; both over neither gains {100 * gain:+.1f} points{_plus_minus(half)}" if known else ""
    return outcome, ", ".join(f"{name} {_score(arms[name])}" for name in order) + gained


@CLAIMS.register("C5", needs=("idinit", "kaiming"), against=(), maps=True)
def _wider_region(grids: Mapping[str, Map], rivals: Sequence[str]) -> tuple[Outcome, str]:
    """IDInit trains in a larger share of the grid than Kaiming, on the same network: without BatchNorm, and with it."""
    pairs = (("idinit", "kaiming"), ("idinit_bn", "kaiming_bn"))
    wider = [grids[mine].trains > grids[kaiming].trains for mine, kaiming in pairs if {mine, kaiming} <= grids.keys()]
    outcome: Outcome = "reproduced" if all(wider) else "partly" if any(wider) else "not reproduced"
    best = max(arm.validation.mean for grid in grids.values() for arm in grid.cells.values() if arm.validation.n)
    described = ", ".join(
        f"{name} trains in {grid.trains} and is good in {grid.within(GOOD, best)} of {len(grid.cells)}"
        for name, grid in grids.items()
    )
    bar = 100 * (next(iter(grids["idinit"].cells.values())).chance + MARGIN)
    rules = f"to train is to end above {bar:.0f} % test accuracy"
    return outcome, f"{described} recipes; {rules}, good is within {100 * GOOD:g} points of the best, on validation"


@CLAIMS.register("C6", needs=("idinit",), against=None)
def _trains_without_warmup(arms: Mapping[str, Arm], rivals: Sequence[str]) -> tuple[Outcome, str]:
    """A network without shortcuts trains from IDInit without warm-up."""
    failed = {name: arms[name].failures for name in ("idinit", *rivals)}
    outcome: Outcome = "reproduced" if not failed["idinit"] else "partly"
    if failed["idinit"] == len(arms["idinit"].runs):
        outcome = "not reproduced"
    return outcome, ", ".join(f"{name} {_training(arms[name], failed[name])}" for name in ("idinit", *rivals))


@CLAIMS.register("C7", needs=(), against=None)
def _best_and_steadiest(arms: Mapping[str, Arm], rivals: Sequence[str]) -> tuple[Outcome, str]:
    """On each model IDInit has the best mean test accuracy and the smallest standard deviation over seeds.

    Arms are named ``model-initializer``. A model counts once all of its arms have the same number of runs. Reproduced
    means both on every model, partly at least one of them on some model.
    """
    models: dict[str, dict[str, Arm]] = {}
    for name, arm in arms.items():
        model, _, initializer = name.rpartition("-")
        models.setdefault(model, {})[initializer] = arm
    complete = {model: rows for model, rows in models.items() if len({len(arm.runs) for arm in rows.values()}) == 1}
    compared = {model: rows for model, rows in complete.items() if "idinit" in rows and _seeded(rows)}
    if not compared:
        missing = "there are no runs of idinit and the others with the same number of seeds, two or more, on any model"
        return "not run at this scale", missing
    best, steady, described = 0, 0, []
    for model, rows in compared.items():
        mine, others = rows["idinit"].test, _seeded(rows)
        first = max(others, key=lambda name: others[name].test.mean)
        steadiest = min(others, key=lambda name: others[name].test.sd)
        apart, half = difference(mine, others[first].test)
        best += apart > 0
        steady += mine.sd < others[steadiest].test.sd
        spread = f", standard deviation {100 * mine.sd:.2f}" if mine.n > 1 else ""
        gap = f" ({100 * apart:+.1f} points{_plus_minus(half)})" if mine.n else ""
        described.append(
            f"{f'{model} ' if model else ''}idinit {_score(rows['idinit'])}{spread}; best of the others {first} "
            f"{_score(others[first])}{gap}, steadiest {steadiest} {100 * others[steadiest].test.sd:.2f}"
        )
    held = best + steady
    outcome: Outcome = "reproduced" if held == 2 * len(compared) else "partly" if held else "not reproduced"
    count = f"the best mean in {best} and the smallest standard deviation in {steady} of {len(compared)}"
    return outcome, f"{count}: {'. '.join(described)}"


@CLAIMS.register("C8", needs=("idinit", "default"), against=(), at_the_end=True)
def _gains_on_the_default(arms: Mapping[str, Arm], rivals: Sequence[str]) -> tuple[Outcome, str]:
    """IDInit ends with a higher accuracy than the default initialization, and is sooner at 60 %."""
    mine, other = arms["idinit"], arms["default"]
    apart, half = difference(mine.test, other.test)
    ahead = mine.reached(SPEED).rank < other.reached(SPEED).rank
    outcome: Outcome = "reproduced" if apart > 0 and ahead else "partly" if apart > 0 or ahead else "not reproduced"
    gap = f" ({100 * apart:+.1f} points{_plus_minus(half)})" if mine.test.n and other.test.n else ""
    return outcome, (
        f"idinit {_score(mine)}, default {_score(other)}{gap}; epochs to {SPEED} % validation accuracy: "
        f"idinit {mine.reached(SPEED)}, default {other.reached(SPEED)}"
    )


@CLAIMS.register("C9", needs=("idinit", "default"), against=(), at_the_end=True)
def _less_compute(arms: Mapping[str, Arm], rivals: Sequence[str]) -> tuple[Outcome, str]:
    """IDInit reaches the loss with which the default initialization ends after less compute.

    Reproduced means in every seed, partly in some.
    """
    mine, other = arms["idinit"], arms["default"]
    shares = needed(mine, other)
    reached = [share for share in shares.values() if not math.isnan(share)]
    sooner = [share < 1 for share in shares.values()]
    outcome: Outcome = "reproduced" if shares and all(sooner) else "partly" if any(sooner) else "not reproduced"
    gain = f", after {percent(saved(shares))} % less compute" if reached else ""
    ends = f"idinit ends at {plain(mine.loss, 3)}, default at {plain(other.loss, 3)}"
    return outcome, f"idinit reaches the final loss of default in {len(reached)} of {len(shares)} seeds{gain}; {ends}"


def _seeded(arms: Mapping[str, Arm]) -> dict[str, Arm]:
    """The arms but IDInit's of which two runs or more completed."""
    return {name: arm for name, arm in arms.items() if name != "idinit" and arm.test.n > 1}


def _training(arm: Arm, failed: int) -> str:
    runs = len(arm.runs)
    verb = "trains" if not failed else "fails" if failed == runs else f"fails in {failed} of {runs} runs"
    return f"{verb} ({_score(arm)})"


def _score(arm: Arm) -> str:
    """Final test accuracy with its interval, and how many runs diverged."""
    if not arm.test.n:
        return "diverged" if arm.diverged == 1 else f"all {arm.diverged} diverged"
    text = f"{100 * arm.test.mean:.1f}{_plus_minus(arm.test.half_width)} %"
    return f"{text}, {arm.diverged} of {len(arm.runs)} diverged" if arm.diverged else text


def _plus_minus(half_width: float) -> str:
    return "" if half_width != half_width else f" ± {100 * half_width:.1f}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
