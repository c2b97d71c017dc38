"""The table of an experiment, for a terminal and as Markdown, and the table of its tuning."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from ..archive.runs import Archive
from ..archive.variants import Arm, Scale, by_model, counted, labelled
from ..statistics.estimates import estimate
from ..statistics.paired import Comparison, compare, success
from ..statistics.significance import ENOUGH
from .columns import columns

PAIRED_NOTES = (
    "Paired by seed: runs of one seed see the same data in the same order. The difference is that of the test accuracies after "
    "the last epoch, in points, with its 95 % bootstrap interval, or Student's where there are fewer than six pairs. The "
    "probability of improvement is the share of seeds in which the arm ended higher, where a run that diverged ends below any "
    "that did not. A run trains if it ends more than 5 points above chance; its rate has Wilson's 95 % interval. The standard "
    f"deviation is that of the test accuracy over seeds, in points. With fewer than {ENOUGH} pairs or runs nothing is compared."
)


def terminal(title: str, arms: Sequence[Arm], tuned: bool) -> Table:
    """The main table for a terminal of 80 columns: short headers, each of several models in a row, no "n = 1"."""
    shown = columns(arms, tuned)
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    for column in shown:
        table.add_column(column.short, justify="right" if table.columns else "left")
    models = by_model(arms)
    for own in models.values():
        # arms called model-initializer: the model is a row of its own, since long names would push the numbers out
        model = os.path.commonprefix([arm.label for arm in own]).rpartition("-")[0] if len(models) > 1 else ""
        if model:
            table.add_row(Text(model, style="bold"))
        for arm in own:
            name, *cells = (column.text(arm).removesuffix(" (n = 1)").replace(" ± ", "±") for column in shown)
            table.add_row(*map(Text, (name.removeprefix(f"{model}-"), *cells)))
    return table


def markdown(arms: Sequence[Arm], tuned: bool) -> str:
    """The main table as Markdown, without a title."""
    shown = columns(arms, tuned)
    head = [column.header.replace("\n", " ") for column in shown]
    return grid(head, [[column.text(arm) for column in shown] for arm in arms])


def paired(arms: Sequence[Arm], baseline: str) -> str:
    """Each arm against the baseline, seed by seed, as Markdown.

    Args:
        arms: One recipe of each arm.
        baseline: Name of the arm to compare with, one of them.

    Returns:
        The table, and where there are intervals a sentence on which of them leave out 0.
    """
    reference = next(arm for arm in arms if arm.name == baseline)
    head = ["initializer", "pairs", f"difference to {baseline}", "probability of improvement", "runs that train"]
    rows, comparisons = [], {}
    for arm in arms:
        found = compare(arm.finals, reference.finals)
        against = ["–", "–", "–"] if arm is reference else _against(found)
        runs = len(arm.runs)
        trains = f"{runs - arm.failures} of {runs}"
        if runs >= ENOUGH:
            low, high = success(runs - arm.failures, runs)
            trains += f" ({100 * low:.0f} to {100 * high:.0f} %)"
        spread = "–" if arm.test.n < ENOUGH else f"{100 * arm.test.sd:.1f}"
        rows.append([arm.label, *against, trains, spread])
        if arm is not reference:
            comparisons[arm.label] = found
    return grid([*head, "standard deviation"], rows) + _told_apart(comparisons, baseline)


def _told_apart(comparisons: Mapping[str, Comparison], baseline: str) -> str:
    """A sentence on the arms of which the interval leaves out 0; empty where there are no intervals.

    Where runs diverged, the interval is one of those that did not: such arms are named and not judged by it.
    """
    comparisons = {label: found for label, found in comparisons.items() if found.pairs >= ENOUGH}
    if all(math.isnan(found.low) for found in comparisons.values()):
        return ""
    whole = {label: found for label, found in comparisons.items() if found.completed == found.pairs}
    above = ", ".join(label for label, found in whole.items() if found.low > 0)
    below = ", ".join(label for label, found in whole.items() if found.high < 0)
    lost = ", ".join(label for label in comparisons if label not in whole)
    rule = "its 95 % interval leaves out 0; not corrected for the number of comparisons"
    judged = f"above it {above or 'none'}; below it {below or 'none'}"
    if lost:
        judged += f"; not judged, since a run of some seed diverged: {lost}"
    return f"\n\nDifferent from {baseline} ({rule}): {judged}."


def _against(found: Comparison) -> list[str]:
    if found.pairs < ENOUGH:
        return [str(found.pairs), "–", "–"]
    apart = f"{100 * found.difference:+.1f}" if found.completed else "–"
    if not math.isnan(found.low):
        apart += f" ({100 * found.low:+.1f} to {100 * found.high:+.1f})"
    if 0 < found.completed < found.pairs:
        apart += f", of {found.completed}"
    return [str(found.pairs), apart, f"{found.improvement:.2f}"]


def tuning(archive: Archive, scale: Scale, arms: Sequence[Arm]) -> str:
    """What was tried before the learning rates were picked: mean validation accuracy, or loss, by arm and learning rate.

    Args:
        archive: The experiment's archive.
        scale: Whose tuning runs; these may be shorter than the main runs.
        arms: The arms of the main table; the learning rates that they use are set in bold.

    Returns:
        One Markdown table for each length of the tuning runs; empty where there are none.
    """
    runs = labelled(archive)
    tune = runs[(runs["phase"] == "tune") & (runs["budget"] == scale.budget) & (runs["data"] == scale.data)]
    used = {(arm.name, arm.lr) for arm in arms if arm.primary}
    metric, scored = ("loss", "loss") if arms and arms[0].guesses_tokens else ("accuracy", "accuracy in percent")
    tables = []
    for epochs, trials in tune.groupby("epochs"):
        rates = sorted(set(trials["lr"]))
        rows = [
            [str(name), *(_trial(of_arm[of_arm["lr"] == rate], metric, (str(name), rate) in used) for rate in rates)]
            for name, of_arm in trials.groupby("arm")
        ]
        seeds = counted(trials["seed"].nunique(), "seed")
        length = counted(float(epochs), "epoch")
        heading = f"Validation {scored} after {length}, {seeds}; in bold what was used."
        tables.append(f"{heading}\n\n{grid(['initializer', *(f'lr {rate:g}' for rate in rates)], rows)}")
    return "\n\n".join(tables)


def _trial(runs: pd.DataFrame, metric: str, used: bool) -> str:
    if runs.empty:
        return "–"
    tried = estimate(runs.loc[runs["state"] == "done", f"validation_{metric}"])
    number = f"{tried.mean:.3f}" if metric == "loss" else f"{100 * tried.mean:.1f}"
    text = number if tried.n else "diverged"
    if 0 < tried.n < len(runs):
        text += f" ({len(runs) - tried.n} diverged)"
    return f"**{text}**" if used else text


def grid(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A Markdown table, the first ``left`` columns flush left, the others right."""
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *rows])
