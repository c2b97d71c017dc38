"""Targets that deep linear networks learn from the identity, with and without noise and momentum."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import product

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from idinit.diagnostics.palette import BLUE, VERMILION

from ...report.blocks import Block, Picture
from ...report.figures import line_style
from ...report.outcomes import Finding, Headline, Outcome
from ...report.table import table
from ..findings import FINDINGS, Findings, draw_shares, present, select
from .measure import DRAWN_RATE, LEARNED

NAMES = {
    "minus_identity": "−I",
    "negative": "half of the eigenvalues −1",
    "rotation": "a rotation",
    "positive": "positive definite",
    "sgd": "no momentum",
    "momentum": "momentum 0.9",
}
OPTIMIZERS = ("sgd", "momentum")
HARD = ("minus_identity", "negative")  # the targets that the claim is about
WHY = (
    "Why: from the identity, and with a symmetric target, the gradient of a full batch is the same symmetric matrix for each "
    "layer, and commutes with it. All layers stay equal and share the target's eigenvectors, so each eigenvalue of the product "
    "is the power of a layer's, and one that must become negative can only shrink to 0, where its gradient vanishes. "
    "Small batches differ in their second moments and tear the layers apart; momentum carries an eigenvalue through 0 by its "
    "inertia, if the rate is large enough. Layers that differ from the start (IDInit's last one, Xavier's) need neither. "
    "Orthogonal layers are as balanced as identities: while steps are small the sign of their product's determinant stays, and "
    "a full batch without momentum learns −I only where it is the same."
)


@FINDINGS.register("convergence")
def convergence(tables: Mapping[str, pd.DataFrame]) -> Findings:
    """Full batches without momentum hold the identity back; noise alone sets it free, and so does momentum alone."""
    final = tables["final"].assign(learned=tables["final"]["error"] < LEARNED)
    full = final["batch"].max()
    batches = {"full batch": final[final["batch"] == full], "small batches": final[final["batch"] < full]}
    ways = {
        f"{name}{ending}": select(runs, optimizer=optimizer)
        for name, runs in batches.items()
        for ending, optimizer in (("", "sgd"), (", momentum", "momentum"))
    }
    pictures = [
        Picture(
            "learned",
            f"Share of seeds that come within {100 * LEARNED:g} % of the target (squared distance), by start and target; "
            "a cross: every seed diverged.",
            partial(_draw_learned, final),
        )
    ]
    if "curves" in tables and "identity" in set(tables["curves"]["start"]):
        pictures.append(
            Picture(
                "curves",
                f"Squared distance from −I over that of 0, from the identity at an effective rate of {DRAWN_RATE:g}: the "
                "median of the seeds, and their range.",
                partial(_draw_curves, tables["curves"]),
            )
        )
    if "eigenvalues" in tables:
        pictures.append(
            Picture(
                "eigenvalues",
                "Real parts of the eigenvalues of the product while it learns −I, by start, at an effective rate of "
                f"{DRAWN_RATE:g}, one seed: they must get to −1 (the line). Full batches without momentum bring those of the "
                "identity from 1 to 0, where the gradient vanishes.",
                partial(_draw_eigenvalues, tables["eigenvalues"]),
            )
        )
    return Findings({"C10": _verdict(ways)}, (WHY, *_table(final, ways)), pictures)


def _verdict(ways: Mapping[str, pd.DataFrame]) -> Finding:
    held = {target: select(ways["full batch"], start="identity", target=target)["learned"] for target in HARD}
    if any(select(runs, start="identity", target=target).empty for runs in ways.values() for target in HARD):
        return Finding("not run at this scale", "the identity was not run with all targets, batches and optimizers")
    freed = [_best(ways["small batches, momentum"], "identity", target)[0] for target in HARD]
    cannot = not any(runs.any() for runs in held.values())
    outcome: Outcome = "not reproduced"
    if cannot and max(freed) > 0:
        # that some seed learns at one of many batches and rates could be chance, that all seeds do could not
        outcome = "reproduced" if min(freed) == 1 else "partly" if max(freed) == 1 else "undecided"
    counts = " and ".join(f"{NAMES[target]} in {runs.sum()} of {len(runs)} runs" for target, runs in held.items())
    apart = {
        "small batches with momentum": "small batches, momentum",
        "noise alone (small batches)": "small batches",
        "momentum alone (full batch)": "full batch, momentum",
    }
    seeds = ", ".join(f"{name} in {_seeds_text(ways[way], 'identity', 'minus_identity')} seeds" for name, way in apart.items())
    learned, seeds_of_best, _ = _best(ways["small batches, momentum"], "identity", "minus_identity")
    number = f"{held['minus_identity'].sum()} against {round(learned * seeds_of_best)} of {seeds_of_best}"
    headline = Headline(number, "runs that learn −I: full batches against small ones with momentum")
    evidence = (
        f"from the identity, full-batch gradient descent learned {counts}. At the best batch and effective rate −I was learned "
        f"by {seeds}"
    )
    return Finding(outcome, evidence, headline)


def _best(runs: pd.DataFrame, start: str, target: str) -> tuple[float, int, str]:
    """The largest share of seeds that learn, of how many, and the largest batch and the smallest rate for it."""
    shares = (
        select(runs, start=start, target=target).groupby(["batch", "rate"], as_index=False)["learned"].agg(["mean", "size"])
    )
    shares = shares.sort_values(["mean", "batch", "rate"], ascending=[False, False, True])
    best = next(iter(shares.to_dict("records")), {"mean": 0, "size": 0, "batch": 0, "rate": 0})
    return best["mean"], best["size"], f"batch {best['batch']}, rate {best['rate']:g}"


def _seeds_text(runs: pd.DataFrame, start: str, target: str) -> str:
    share, seeds, where = _best(runs, start, target)
    return f"{round(share * seeds)} of {seeds}" + (f" ({where})" if share else "")


def _table(final: pd.DataFrame, ways: Mapping[str, pd.DataFrame]) -> list[Block]:
    rows = [
        [NAMES[target], str(start), *(_seeds_text(runs, start, target) for runs in ways.values())]
        for target in present((*HARD, "rotation"), final["target"])
        for start in dict.fromkeys(final["start"])
    ]
    heading = (
        "Seeds that learned each target, at the batch size and effective rate that suit it best: the largest batch and the "
        "smallest rate, if several do. Others do worse; the figure has them all."
    )
    return [heading, table("Seeds that learned each target", ["target", "start", *ways], rows, left=2)]


def _draw_learned(final: pd.DataFrame) -> Figure:
    targets, starts = list(dict.fromkeys(final["target"])), list(dict.fromkeys(final["start"]))
    figure = Figure(figsize=(2.6 * len(targets) + 1.4, 1.7 * len(starts) + 0.8), layout="constrained")
    axes = figure.subplots(len(starts), len(targets), squeeze=False, sharex=True, sharey=True)
    for (row, start), (column, target) in product(enumerate(starts), enumerate(targets)):
        own = select(final, start=start, target=target)
        groups = own.assign(lost=own["error"].isna()).groupby(["optimizer", "batch", "rate"])
        learned, lost = (groups[column].mean().unstack() for column in ("learned", "lost"))
        order = sorted(learned.index, key=lambda key: (key[0] != "sgd", -key[1]))
        ax = axes[row][column]
        draw_shares(ax, learned.loc[order], (100 * learned).map("{:.0f}".format).where(lost < 1, "×").loc[order], fontsize=7)
        ax.set_yticks(range(len(order)), [f"{NAMES[name]}, batch {batch}" for name, batch in order], fontsize=7)
        ax.set_xticks(range(learned.shape[1]), [f"{rate:g}" for rate in learned.columns])
        _label_edges(axes, row, column, title=NAMES[target], xlabel="effective learning rate", start=start)
    figure.suptitle("Seeds that learn the target, %", x=0.01, ha="left", fontsize=10.5)
    return figure


def _label_edges(axes: np.ndarray, row: int, column: int, *, title: str, xlabel: str, start: str) -> None:
    """Labels a panel where it lies at the edge of a figure that has a row for each start."""
    rows, columns = axes.shape
    if row == 0:
        axes[row][column].set_title(title, fontsize=9)
    if row == rows - 1:
        axes[row][column].set_xlabel(xlabel)
    if column == columns - 1:
        axes[row][column].annotate(start, (1.03, 0.5), xycoords="axes fraction", rotation=270, va="center", fontsize=9)


def _draw_curves(curves: pd.DataFrame) -> Figure:
    own = select(curves, start="identity")
    optimizers = present(OPTIMIZERS, own["optimizer"])
    figure = Figure(figsize=(4.5 * len(optimizers), 3.6), layout="constrained")
    panels: list[Axes] = list(figure.subplots(1, len(optimizers), sharey=True, squeeze=False)[0])
    for ax, optimizer in zip(panels, optimizers, strict=True):
        for index, batch in enumerate(sorted(set(own["batch"]), reverse=True)):
            line = select(own, batch=batch, optimizer=optimizer)
            label = f"batch {batch}" + (" (all)" if index == 0 else "")
            style = line_style(index)
            ax.plot(line["step"], line["median"].clip(1e-8), label=label, markevery=4, **style)
            ax.fill_between(line["step"], line["lowest"].clip(1e-8), line["highest"], color=style["color"], alpha=0.15, lw=0)
        ax.set(title=NAMES[optimizer], xlabel="step", xscale="log", yscale="log", ylim=(1e-8, 10))
    panels[0].set_ylabel("squared distance from −I, relative")
    panels[-1].legend(frameon=False, loc="lower left")
    return figure


def _draw_eigenvalues(eigenvalues: pd.DataFrame) -> Figure:
    """A row a start, a column an optimizer with full or small batches."""
    batches, starts = sorted(set(eigenvalues["batch"]), reverse=True), list(dict.fromkeys(eigenvalues["start"]))
    columns = [(batch, optimizer) for optimizer in present(OPTIMIZERS, eigenvalues["optimizer"]) for batch in batches]
    figure = Figure(figsize=(2.4 * len(columns) + 0.6, 1.35 * len(starts) + 0.8), layout="constrained")
    axes = figure.subplots(len(starts), len(columns), squeeze=False, sharex=True, sharey=True)
    for (row, start), (column, (batch, optimizer)) in product(enumerate(starts), enumerate(columns)):
        ax = axes[row][column]
        own = select(eigenvalues, batch=batch, optimizer=optimizer, start=start)
        own = own[["step", "real"]].round({"real": 2}).drop_duplicates()  # most of thousands of dots lie on others
        ax.plot(own["step"].clip(lower=0.7), own["real"], color=BLUE, marker="o", markersize=2, linestyle="")
        ax.axhline(-1, color=VERMILION, linewidth=1)
        ax.set(xscale="log", ylim=(-1.6, 1.6))
        title = f"{'full batch' if batch == batches[0] else f'batch {batch}'}, {NAMES[optimizer]}"
        _label_edges(axes, row, column, title=title, xlabel="step", start=start)
    figure.supylabel("eigenvalues of the product", fontsize=9)
    return figure
