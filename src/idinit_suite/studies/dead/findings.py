"""Weights of residual branches that never move, and those that no longer matter."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from idinit.diagnostics.palette import BLUE, ORANGE, VERMILION

from ...report.blocks import Block, Picture
from ...report.figures import line_style
from ...report.outcomes import Finding, Headline, Outcome
from ...report.table import table
from ..findings import FINDINGS, Findings, present, select
from .measure import MAP_DECADES, MAP_LEVELS

NAMES = {
    "zero_end": "exact zeros",
    "fixup": "Fixup",
    "rezero": "ReZero",
    "idiz_1e-6": "IDIZ(1e-6)",
    "idiz_1e-4": "IDIZ(1e-4)",
    "idiz_1e-2": "IDIZ(1e-2)",
    "zero_end_projection": "exact zeros, projections",
    "zero_gamma": "Zero-gamma, BN",
    "rezero_bn": "ReZero, BN",
    "zero_end_bn": "exact zeros, BN",
    "idiz_1e-6_bn": "IDIZ(1e-6), BN",
    "idiz_1e-2_bn": "IDIZ(1e-2), BN",
    "zero_gamma_projection": "Zero-gamma, BN, projections",
}
ZEROS = ("zero_end", "fixup", "zero_gamma", "zero_end_bn")  # the claim says "Fixup-style"
OURS = ("idiz_1e-6", "idiz_1e-6_bn")
HALF, FEW = 0.5, 0.1  # the claim's "over half" and "almost none"
WHY = (
    "Why: where a stage widens, the shortcut fills the new channels with zeros. A branch that ends in exact zeros adds nothing "
    "to them, the ReLU after the sum sees 0, and its derivative there is 0: no gradient ever reaches the rows that could fill "
    "these channels, nor the columns that read them. The smallest IDIZ breaks the tie. Fixup's scalar biases do as well: a "
    "last weight of zero alone does not make weights dead; but some of its weights have moved by next to nothing (see the map, "
    "and the right of the figure). With 1x1 convolutions in the shortcuts the new channels are not 0, and hardly any weight "
    "stays where it began. A weight that has moved can still be useless in the end: the column without gradient says how many "
    "are: without BatchNorm many, with IDIZ as well; with Fixup and with projections the seeds differ."
)


@FINDINGS.register("dead")
def dead(tables: Mapping[str, pd.DataFrame]) -> Findings:
    """Exact zeros at the end of branches leave most weights dead where shortcuts are padded with zeros; IDIZ few."""
    shares = tables["shares"].dropna(subset="loss")
    if shares.empty:
        return Findings({"C12": Finding("not run at this scale", "every start diverged")}, (WHY,), ())
    unmoved = tables["unmoved"]
    means = select(unmoved, part="both").groupby(["start", "tolerance"])["share"].mean().unstack()
    final = select(shares, part="both")
    pictures = [
        Picture(
            "shares",
            "Left: weights of residual branches that end bit for bit where they began, and those of which no training "
            "example feels a change; the black marks on these are the seeds. Right: weights that have moved less than a "
            "share of the typical change (the root mean square over all branches).",
            partial(_draw_shares, means, final),
        )
    ]
    if "maps" in tables:
        pictures.append(
            Picture(
                "maps",
                "How far training has moved the weights of the last branch's last layer (rows: outputs, columns: inputs, the "
                "tap that moved most), against the typical change, one seed; orange: not at all.",
                partial(_draw_maps, tables["maps"]),
            )
        )
    return Findings({"C12": _verdict(means)}, (WHY, *_table(means, final)), pictures)


def _verdict(means: pd.DataFrame) -> Finding:
    if not {*ZEROS, *OURS} <= set(means.index):
        return Finding(
            "not run at this scale", "not all of exact zeros, Fixup and IDIZ(1e-6), with and without BatchNorm, were run"
        )
    exact = {str(start): float(share) for start, share in means[0.0].items()}
    over_half = [exact[start] > HALF for start in ZEROS]
    few = max(exact[start] for start in OURS) < FEW
    phrases = ", ".join(f"{NAMES[start]} {100 * exact[start]:.1f} %" for start in NAMES if start in exact)
    # zeros that die say nothing for IDIZ if its weights die like them
    outcome: Outcome = "not reproduced" if not few or not any(over_half) else "reproduced" if all(over_half) else "partly"
    number = f"{100 * exact['zero_end']:.0f} % against {100 * exact['idiz_1e-6']:.1f} %"
    headline = Headline(number, "weights that never move: exact zeros against IDIZ")
    return Finding(outcome, f"weights of residual branches that never move: {phrases}", headline)


def _table(means: pd.DataFrame, final: pd.DataFrame) -> list[Block]:
    tolerances = [0.0, 1e-3]
    still, ended = means.to_dict("index"), dict(iter(final.groupby("start")))
    rows = [
        [
            NAMES[start],
            *(f"{100 * still[start][tolerance]:.1f}" for tolerance in tolerances),
            _with_range(100 * ended[start]["no_gradient"]),
            _with_range(100 * ended[start]["dead_units"]),
            f"{ended[start]['loss'].mean():.3f}",
        ]
        for start in NAMES
        if start in ended
    ]
    head = ["start", "never moved, %", "moved by less than 1/1000, %", "without gradient, %", "dead units, %", "training loss"]
    return [
        "Weights of residual branches, and units: channels inside the branches and after the sums that are 0 for every "
        "training image; mean of the seeds (lowest to highest).",
        table("Weights that never moved", head, rows),
    ]


def _with_range(seeds: pd.Series) -> str:
    return f"{seeds.mean():.1f}" + (f" ({seeds.min():.1f} to {seeds.max():.1f})" if len(seeds) > 1 else "")


def _draw_shares(means: pd.DataFrame, final: pd.DataFrame) -> Figure:
    starts = present(NAMES, means.index.to_series())
    figure = Figure(figsize=(12.5, 0.36 * len(starts) + 1.4), layout="constrained")
    bars, lines = figure.subplots(1, 2)
    places = np.arange(len(starts))
    bars.barh(places - 0.2, means.loc[starts, 0.0], 0.38, color=BLUE, label="never moved")
    useless = final.groupby("start")["no_gradient"]
    bars.barh(places + 0.2, useless.mean()[starts], 0.38, color=ORANGE, label="without gradient at the end")
    for place, start in zip(places, starts, strict=True):
        values = useless.get_group(start)
        bars.plot(values, [place + 0.2] * len(values), color="black", marker="|", markersize=7, linestyle="")
    bars.set_yticks(places, [NAMES[start] for start in starts])
    bars.invert_yaxis()
    bars.xaxis.set_major_formatter(PercentFormatter(xmax=1))
    bars.legend(frameon=False, loc="lower right")
    bars.set_xlabel("share of the weights in branches")
    for index, start in enumerate(starts):
        lines.plot(range(means.shape[1]), means.loc[start], label=NAMES[start], **line_style(index))
    lines.set_xticks(range(means.shape[1]), [f"{tolerance:g}" for tolerance in means.columns])
    lines.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    lines.set(xlabel="tolerance, of the typical change", ylabel="weights that have moved by less")
    figure.legend(*lines.get_legend_handles_labels(), frameon=False, loc="outside right center")
    return figure


def _draw_maps(maps: pd.DataFrame) -> Figure:
    starts = present(NAMES, maps["start"])
    columns = min(5, len(starts))
    rows = -(-len(starts) // columns)
    figure = Figure(figsize=(2.1 * columns + 1, 2.3 * rows + 0.2), layout="constrained")
    colours = ListedColormap([VERMILION, *(str(1 - level / len(MAP_LEVELS)) for level in range(1, len(MAP_LEVELS)))])
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat[len(starts) :]:
        ax.set_axis_off()
    for ax, start in zip(axes.flat, starts, strict=False):
        rows_of_map = select(maps, start=start).sort_values("row")["levels"]
        levels = [[MAP_LEVELS.index(letter) for letter in row] for row in rows_of_map]
        image = ax.imshow(levels, cmap=colours, vmin=-0.5, vmax=len(MAP_LEVELS) - 0.5)
        ax.set_title(NAMES[start], fontsize=8.5)
        ax.grid(False)
        ax.set(xticks=[], yticks=[])
    low, high = MAP_DECADES
    bar = figure.colorbar(image, ax=axes, shrink=0.7, label="change / typical change")
    decades = range(low, high, 2)
    places = [1 + (len(MAP_LEVELS) - 2) * (decade - low) / (high - low) for decade in decades]
    labels = [f"{'≤ ' if decade == low else ''}$10^{{{decade}}}$" for decade in decades]
    bar.set_ticks([0, *places, len(MAP_LEVELS) - 1], labels=["none", *labels, f"≥ $10^{{{high}}}$"])
    return figure
