"""Learning speed of a branch whose last weight is zero, by its first weight."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from ...archive.edges import edge, marked, with_legend
from ...report.blocks import Block, Picture
from ...report.figures import line_style
from ...report.outcomes import Finding, Headline
from ...report.table import Cell, table
from ..findings import FINDINGS, Findings, all_or_some, draw_legend, present, select
from .measure import INPUTS

NAMES = {
    "kaiming": "random (Kaiming)",
    "xavier": "random (Xavier)",
    "hadamard": "Hadamard",
    "partial_identity": "partial identity",
    "identity": "IDI",
    "identity_loose": "IDI, loose",
    "idinit": "IDI, W2 = IDIZ(1e-6)",
}
TASKS = {"teacher": "regression on a teacher", "digits": "digits"}
RIVALS = ("kaiming", "xavier", "hadamard", "partial_identity")
CLAIMED = "adagrad"  # the optimizer of the paper's figure
_SPEEDS = {"speed": "mean", "fastest": "lowest", "slowest": "highest"}
WHY = (
    "With W2 = 0 all copies of a row of an IDI get the same gradient and stay copies: a branch four times as wide as its input "
    "works like one as wide. IDIZ for W2 tells them apart, as far as the optimizer lets it: Adam and Adagrad divide by the "
    "size of a gradient, and make much of a small difference; for SGD it stays small, and so does a loosening of 1e-6 for all."
)


@FINDINGS.register("branch")
def branch(tables: Mapping[str, pd.DataFrame]) -> Findings:
    """Each start at its best rate, by its mean loss over the training: the smaller, the faster."""
    best = _best(tables["curves"])
    if best.empty:
        return Findings({"C14": Finding("not run at this scale", "every start diverged at every rate")}, (WHY,), ())
    return Findings(
        {"C14": _verdict(best)},
        (WHY, *_table(best)),
        (
            Picture(
                "curves",
                "Training loss of each start at its best rate, by task and width of the branch: mean of the seeds, and their "
                "range.",
                partial(_draw, tables["curves"], best),
            ),
        ),
    )


def _best(curves: pd.DataFrame) -> pd.DataFrame:
    """For each task, width, optimizer and start: its best rate, the mean loss over the training, and the last loss.

    Fastest and slowest are the means of the lowest and of the highest losses among the seeds. A rate at which a seed diverges
    is not a candidate.
    """
    keys = ["task", "width", "optimizer", "start", "rate"]
    whole = {name: (column, _mean_of_all) for name, column in _SPEEDS.items()}
    speed = curves.groupby(keys, sort=False, as_index=False).agg(**whole, last=("mean", "last"))
    best = speed.dropna().sort_values("speed", kind="stable").groupby(keys[:-1], sort=False, as_index=False).first()
    return best.assign(edge=[edge(curves["rate"], rate) for rate in best["rate"]])


def _mean_of_all(losses: pd.Series) -> float:
    return float(losses.mean(skipna=False))


def _verdict(best: pd.DataFrame) -> Finding:
    ours = select(best, optimizer=CLAIMED)
    first, phrases = [], []
    for (task, width), own in ours.groupby(["task", "width"], sort=False):
        speeds, fastest, slowest = (dict(zip(own["start"], own[name], strict=True)) for name in _SPEEDS)
        # as wide as the input, a partial identity is the same as IDI
        rivals = [start for start in RIVALS if start in speeds and (width != INPUTS or start != "partial_identity")]
        if "identity" not in speeds or not rivals:
            return Finding("not run at this scale", "IDI was not run beside the others, or none of them trained")
        winner = min(rivals, key=lambda start: speeds[start])
        first.append(slowest["identity"] < fastest[winner])  # not by less than the seeds differ
        phrases.append(
            f"{TASKS[str(task)]}, width {width}: IDI {speeds['identity']:.3g}, the best of the others "
            f"{speeds[winner]:.3g} ({NAMES[winner]})"
        )
    if not first:
        return Finding("not run at this scale", f"there are no runs with {CLAIMED}")
    rule = "IDI counts as faster where its slowest seed beats the fastest seed of the best other start"
    headline = Headline(f"{sum(first)} of {len(first)}", "tasks in which an identity learns faster than every other start")
    evidence = f"mean training loss with Adagrad, each at its best rate: {'; '.join(phrases)}; {rule}"
    return Finding(all_or_some(first), evidence, headline)


def _table(best: pd.DataFrame) -> list[Block]:
    optimizers = list(dict.fromkeys(best["optimizer"]))
    rows: list[list[Cell | str]] = []
    for task, width in best[["task", "width"]].drop_duplicates().sort_values(["task", "width"]).itertuples(index=False):
        own = select(best, task=task, width=width)
        fastest = own.groupby("optimizer")["speed"].min()
        trained = own.set_index(["optimizer", "start"]).to_dict("index")
        for start in present(NAMES, best["start"]):
            cells: list[Cell | str] = []
            for optimizer in optimizers:
                if (optimizer, start) not in trained:
                    cells.append("diverged")
                    continue
                mine = trained[optimizer, start]
                text = f"{mine['speed']:.3g} ({mine['last']:.2g}; {marked(mine['rate'], mine['edge'])})"
                strong = f"{mine['speed']:.3g}" == f"{fastest[optimizer]:.3g}"
                cells.append(Cell(text, float(mine["speed"]), strong))
            rows.append([f"{TASKS[task]}, {width}", NAMES[start], *cells])
    head = ["task, width", "W1", *optimizers]
    heading = "Mean loss over the training (last loss; rate), at the rate where the first is smallest; in bold the fastest."
    return [with_legend(heading, best["edge"]), table("Speed of each start", head, rows, left=2)]


def _draw(curves: pd.DataFrame, best: pd.DataFrame) -> Figure:
    curves = curves.merge(best[["task", "width", "optimizer", "start", "rate"]])  # those at the best rates
    problems = list(curves[["task", "width"]].drop_duplicates().itertuples(index=False, name=None))
    optimizers = list(dict.fromkeys(curves["optimizer"]))
    figure = Figure(figsize=(3.2 * len(optimizers) + 0.4, 2.3 * len(problems) + 0.9), layout="constrained")
    axes = figure.subplots(len(problems), len(optimizers), squeeze=False, sharex=True, sharey="row")
    for row, (task, width) in enumerate(problems):
        for column, optimizer in enumerate(optimizers):
            ax = axes[row][column]
            panel = {"task": task, "width": width, "optimizer": optimizer}
            for start in map(str, select(best, **panel)["start"]):
                line = select(curves, **panel, start=start)
                style = line_style(list(NAMES).index(start))
                ax.plot(line["step"], line["mean"], markevery=5, label=NAMES[start], **style)
                ax.fill_between(line["step"], line["lowest"], line["highest"], color=style["color"], alpha=0.12, linewidth=0)
            ax.set(yscale="log", title=f"{TASKS[task]}, width {width}: {optimizer}")
            ax.title.set_fontsize(8.5)
            ax.yaxis.set_minor_formatter(NullFormatter())
        axes[row][0].set_ylabel("training loss")
    for ax in axes[-1]:
        ax.set_xlabel("step")
    draw_legend(figure, NAMES.values(), loc="outside lower center", ncols=4)
    return figure
