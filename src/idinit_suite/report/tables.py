"""The tables of an experiment: results by variant, each variant against the baseline, and the learning rates tried."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from ..archive.runs import Archive
from ..archive.searches import list_searches
from ..archive.variants import Scale, Variant, labelled, model_prefixes
from ..statistics.estimates import estimate
from ..statistics.paired import Comparison, compare, success
from ..statistics.significance import ENOUGH
from ..words import pluralize
from .blocks import Block
from .columns import columns
from .formatting import difference_interval
from .table import Cell, Table, table

PAIRED_NOTES = (
    "Paired by seed: runs of one seed see the same data in the same order. The difference is that of the test accuracies after "
    "the last epoch, in points, with its 95 % bootstrap interval, or Student's where there are fewer than six pairs; one "
    "that reaches beyond 100 points says nothing and is left out. "
    "The probability of improvement is the share of seeds in which the variant ended higher, where a run that diverged ends "
    "below any that did not. A run trains if it ends more than 5 points above chance; its rate has Wilson's 95 % interval. The "
    f"standard deviation is that of the test accuracy over seeds, in points. With fewer than {ENOUGH} pairs or runs nothing is "
    "compared."
)


def results_table(caption: str, variants: Sequence[Variant], tuned: bool) -> Table:
    """The main table: a row for each variant.

    Args:
        caption: What it shows.
        variants: In the order of the rows.
        tuned: Whether each variant's learning rate was picked from a grid.
    """
    shown = columns(variants, tuned)
    rows = tuple(
        tuple(Cell(column.text(variant), column.key(variant) if column.key else None) for column in shown)
        for variant in variants
    )
    head, short = tuple(column.header for column in shown), tuple(column.short for column in shown)
    # the model is a row of its own, since long names would push the numbers out
    return Table(caption, head, rows, short=short, groups=tuple(model_prefixes(variants)))


def paired(variants: Sequence[Variant], baseline: str) -> list[Block]:
    """Each variant against the baseline, seed by seed.

    Args:
        variants: One recipe of each variant.
        baseline: Name of the variant to compare with, one of them.

    Returns:
        The table, and where there are intervals a sentence on which of them leave out 0.
    """
    reference = next(variant for variant in variants if variant.name == baseline)
    head = [
        *("initializer", "pairs", f"difference to {baseline}", "probability of improvement", "runs that train"),
        "standard deviation",
    ]
    rows: list[list[Cell | str]] = []
    comparisons = {}
    for variant in variants:
        found = compare(variant.finals, reference.finals)
        against = [Cell("–", math.nan)] * 3 if variant is reference else _against(found)
        runs = len(variant.runs)
        trained = runs - variant.failures
        trains = f"{trained} of {runs}"
        if runs >= ENOUGH:
            low, high = success(trained, runs)
            trains += f" ({100 * low:.0f} to {100 * high:.0f} %)"
        sd = math.nan if variant.test.n < ENOUGH else 100 * variant.test.sd
        spread = Cell("–" if math.isnan(sd) else f"{sd:.1f}", sd)
        rows.append([variant.label, *against, Cell(trains, trained / runs), spread])
        if variant is not reference:
            comparisons[variant.label] = found
    sentence = _different(comparisons, baseline)
    return [table(f"Against {baseline}", head, rows), *([sentence] if sentence else [])]


def _different(comparisons: Mapping[str, Comparison], baseline: str) -> str:
    """A sentence on the variants of which the interval leaves out 0; empty where there are no intervals.

    Where runs diverged, the interval is one of those that did not: such variants are named and not judged by it.
    """
    comparisons = {label: found for label, found in comparisons.items() if found.pairs >= ENOUGH}
    if all(math.isnan(found.low) for found in comparisons.values()):
        return ""
    whole = {label: found for label, found in comparisons.items() if found.completed == found.pairs}
    above = ", ".join(f"`{label}`" for label, found in whole.items() if found.low > 0)
    below = ", ".join(f"`{label}`" for label, found in whole.items() if found.high < 0)
    lost = ", ".join(f"`{label}`" for label in comparisons if label not in whole)
    rule = "its 95 % interval leaves out 0; not corrected for the number of comparisons"
    judged = f"above it {above or 'none'}; below it {below or 'none'}"
    if lost:
        judged += f"; not judged, because some runs of a pair diverged: {lost}"
    return f"Different from `{baseline}` ({rule}): {judged}."


def _against(found: Comparison) -> list[Cell]:
    pairs = Cell(str(found.pairs), found.pairs)
    if found.pairs < ENOUGH:
        return [pairs, Cell("–", math.nan), Cell("–", math.nan)]
    apart = f"{100 * found.difference:+.1f}" if found.completed else "–"
    apart += difference_interval(found.low, found.high)
    if 0 < found.completed < found.pairs:
        apart += f", of {found.completed}"
    return [pairs, Cell(apart, found.difference), Cell(f"{found.improvement:.2f}", found.improvement)]


def search_tables(archive: Archive, scale: Scale, variants: Sequence[Variant]) -> list[Block]:
    """The search for learning rates: mean validation accuracy, or loss, by variant, recipe and learning rate.

    Args:
        archive: The experiment's archive.
        scale: Whose tuning runs; these may be shorter than the main runs.
        variants: The variants of the main table; the learning rates that they use are set in bold.

    Returns:
        A sentence and a table for each length of the tuning runs; nothing where there are none.
    """
    runs = labelled(archive)
    tune = runs[(runs["phase"] == "tune") & (runs["budget"] == scale.budget) & (runs["data"] == scale.data)]
    metric = variants[0].metric if variants else "accuracy"
    scored = "loss" if metric == "loss" else "accuracy in percent"
    blocks: list[Block] = []
    for epochs, trials in tune.groupby("epochs"):
        rates, searches = sorted(set(trials["lr"])), list_searches(trials, variants)
        changes = {one.changes for one in searches}
        own = len(changes) > 1  # what all have in common is said once
        rows: list[list[Cell | str]] = [
            [
                f"{one.name} ({one.changes})" if own and one.changes else one.name,
                *(_trial(one.runs[one.runs["lr"] == rate], metric, rate == one.picked) for rate in rates),
            ]
            for one in searches
        ]
        seeds, recipe = pluralize(trials["seed"].nunique(), "seed"), "" if own else f", {changes.pop()}".rstrip(", ")
        blocks.append(f"Validation {scored} after {pluralize(float(epochs), 'epoch')}, {seeds}{recipe}; in bold what was used.")
        blocks.append(table("Learning rates tried", ["initializer", *(f"lr {rate:g}" for rate in rates)], rows))
    return blocks


def _trial(runs: pd.DataFrame, metric: str, used: bool) -> Cell:
    if runs.empty:
        return Cell("–", math.nan)
    tried = estimate(runs.loc[runs["state"] == "done", f"validation_{metric}"])
    number = f"{tried.mean:.3f}" if metric == "loss" else f"{100 * tried.mean:.1f}"
    text = number if tried.n else "diverged"
    if 0 < tried.n < len(runs):
        text += f" ({len(runs) - tried.n} diverged)"
    return Cell(text, tried.mean, strong=used)
