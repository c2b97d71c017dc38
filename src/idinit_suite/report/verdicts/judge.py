"""From the runs of one scale to the verdict on a claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...archive.recipe_grid import maps
from ...archive.variants import Scale, Variant, best_recipes
from ...data.locate import is_other_data
from ...statistics.significance import ENOUGH
from ...words import pluralize
from ..measured import Measured, measured
from ..outcomes import SILENT, SMOKE, Curves, Finding, Verdict
from .rules import CLAIMS, Cells
from .wording import listed, mean_loss, score, too_few


def judge(claim: str, scale: Scale, variants: Sequence[Variant]) -> Verdict:
    """The verdict on a claim from the runs of one scale.

    Args:
        claim: Its id.
        scale: The scale; it opens the evidence, since a verdict holds for no other.
        variants: All variants at that scale; only their best recipes count.

    Raises:
        UsageError: If no verdict function has that name.
    """
    entry = CLAIMS[claim]
    best = {variant.name: variant for variant in best_recipes(variants)}
    if scale.budget == "smoke":
        return Verdict(claim, SMOKE.outcome, f"{scale}: {SMOKE.evidence}.")
    if is_other_data(scale.data):
        return Verdict(claim, "not run at this scale", f"{scale}: not the data that the claim is about.")
    found: Mapping[str, Measured | Cells] = {name: measured(variant) for name, variant in best.items()}
    if entry.info.maps and set(entry.info.needs) <= found.keys():
        found = {name: {at: measured(variant) for at, variant in one.cells.items()} for name, one in maps(variants).items()}
        if not set(entry.info.needs) <= found.keys():
            return Verdict(claim, "not run at this scale", f"{scale}: the grid is not complete.")
    outcome, sentence, headline = decide(claim, found)
    against = entry.info.against
    named = best if against is None else [name for name in best if name in (*entry.info.needs, *against)]
    edges = ", ".join(f"{name} ({best[name].edge})" for name in named if best[name].edge)
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
        return Finding("not run at this scale", f"there are no runs of {listed(missing)}")
    if entry.info.by_model:
        return entry.build(found, rivals)
    seeds = {name: _seeds(found[name]) for name in (*needs, *rivals)}
    if against is None:  # the claim does not name them: those with few runs are left out
        rivals = [name for name in rivals if len(seeds[name]) >= ENOUGH]
    shared = frozenset.intersection(*(seeds[name] for name in (*needs, *rivals)))
    if len(shared) < ENOUGH or (against is None and not rivals):
        evidence = f"{ENOUGH} seeds in common are needed; {_few(found, seeds)}"
        return Finding("not enough runs", evidence, too_few(len(shared)))
    outcome, sentence, headline = entry.build(found, rivals)
    absent = [name for name in against or () if name not in found]
    if absent:
        sentence += f"; not run: {', '.join(absent)}"
        outcome = "partly" if outcome == "reproduced" else outcome
    headline = replace(headline, n=len(shared)) if headline else None
    return Finding(outcome, f"{pluralize(len(shared), 'seed')} in common, {sentence}", headline)


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


def _seeds(one: Measured | Cells) -> frozenset[int]:
    """The seeds of a variant; of one with many recipes those that all of them have."""
    return one.seeds if isinstance(one, Measured) else frozenset.intersection(*(cell.seeds for cell in one.values()))


def _few(found: Mapping[str, Measured | Cells], seeds: Mapping[str, frozenset[int]]) -> str:
    described = []
    for name, own in seeds.items():
        one = found[name]
        numbers = ""
        if isinstance(one, Measured):
            numbers = f" ({score(one)})" if one.chance else f" (final loss {mean_loss(one.loss)})"
        described.append(f"{name} has {len(own)}{numbers}")
    return ", ".join(described)
