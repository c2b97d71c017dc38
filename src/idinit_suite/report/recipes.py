"""The blocks of one scale by recipe: each variant's best, the one that variants share, and the map of all."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..archive.recipe_grid import Map, maps
from ..archive.variants import Variant, best_recipes, varied
from .blocks import Block, Heading
from .compute_to_loss import compute_table
from .table import Cell, Table, table
from .tables import PAIRED_NOTES, paired, results_table

RESULTS = "Results by variant"


def main_table(variants: Sequence[Variant], tuned: bool) -> list[Block]:
    """The table of one scale: all recipes, but of a map only each variant's best.

    Args:
        variants: The variants in all their recipes, in the order of the table.
        tuned: Whether each variant's learning rate was picked from a grid.
    """
    if maps(variants):
        lead = "Each variant with its best recipe on the validation split:"
        return [lead, results_table(RESULTS, best_recipes(variants), tuned)]
    return [results_table(RESULTS, variants, tuned)]


def more_tables(variants: Sequence[Variant], baseline: str, name: str) -> list[Block]:
    """The blocks below the main table: each variant against the baseline, the shared recipe, the maps.

    Args:
        variants: The variants in all their recipes.
        baseline: The variant that the others are compared with.
        name: The experiment.
    """
    best = best_recipes(variants)
    blocks: list[Block] = []
    if compared := against(best, baseline):
        losses = variants[0].is_language_model
        heading = f"{'Compute to the final loss of' if losses else 'Against'} {baseline}"
        blocks += [Heading(3, heading), *compared, *([] if losses else [PAIRED_NOTES])]
    if any(not variant.is_common_recipe for variant in best) and sum(variant.is_common_recipe for variant in variants) > 1:
        blocks += _shared(variants, best, name)
    if found := maps(variants):
        lead = "Test accuracy in percent after the last epoch."
        blocks += [Heading(3, "All recipes"), lead, *(block for one in found.values() for block in _map(one))]
    return blocks


def against(variants: Sequence[Variant], baseline: str) -> list[Block]:
    """Each variant against the baseline; among variants called ``model-initializer`` against that of its own model.

    Args:
        variants: One recipe of each variant.
        baseline: The variant that the others are compared with, or the initializer.

    Returns:
        A table for each variant compared with: of accuracies seed by seed, with a sentence below it where there are intervals;
        of language models compute.
    """
    if any(variant.name == baseline for variant in variants):
        references = {baseline: variants}
    else:
        named = sorted(variant.name for variant in variants if variant.name.endswith(f"-{baseline}"))
        models = {name: name.removesuffix(baseline) for name in named}
        references = {name: [one for one in variants if one.name.startswith(model)] for name, model in models.items()}
    blocks: list[Block] = []
    for name, own in references.items():
        blocks += [compute_table(own, name)] if variants[0].is_language_model else paired(own, name)
    return blocks


def _shared(variants: Sequence[Variant], best: Sequence[Variant], name: str) -> list[Block]:
    """One recipe for all, as where methods are compared without tuning each."""
    shared = [variant for variant in variants if variant.is_common_recipe]
    keys = varied(variants)
    recipe = [f"{key}={shared[0].recipe[key]}" for key in keys if key in shared[0].recipe]
    names = {variant.name for variant in shared}
    absent = [variant.name for variant in best if variant.name not in names]
    budget, words = variants[0].runs["budget"].iloc[0], " ".join([*recipe, f"train.epochs={variants[0].last:g}"])
    missing = f' Not run with it: {", ".join(absent)}; `make {name} BUDGET={budget} ARGS="{words}"` runs what is missing.'
    which = "(a tie goes to float32, then to the best average)"
    text = f"The recipe that most variants were run with {which}: {', '.join(recipe)}."
    return [
        Heading(3, "One recipe for all"),
        text + (missing if absent else ""),
        results_table("Results with one recipe for all", shared, tuned=False),
    ]


def _map(one: Map) -> tuple[str, Table]:
    """A map: test accuracy in percent at each point."""
    across, down = (key.rpartition(".")[2].replace("_", " ") for key in one.keys)
    rows: list[list[Cell | str]] = [[f"{down} {y:g}", *(_cell(one.cells[x, y]) for x in one.x)] for y in one.y]
    share = f"**{one.name}**: {one.trains} of {len(one.cells)} recipes train"
    return share, table(f"Test accuracy of {one.name} by recipe", ["", *(f"{across} {x:g}" for x in one.x)], rows)


def _cell(variant: Variant) -> Cell:
    if not variant.test.n:
        return Cell("diverged", math.nan)
    text = f"{100 * variant.test.mean:.1f}"
    return Cell(f"{text} ({variant.diverged} diverged)" if variant.diverged else text, variant.test.mean)
