"""Rank of what training adds to a middle layer, against the width of the input."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...report.blocks import Block, Picture
from ...report.figures import line_style
from ...report.outcomes import Finding, Headline, Outcome
from ...report.table import table
from ...statistics.significance import ENOUGH
from ...words import pluralize
from ..findings import FINDINGS, Findings, select
from .measure import COARSE, THRESHOLD

NAMES = {"zero_padded": "zero-padded identity", "zero": "ZerO", "idinit": "IDInit", "loose": "IDInit, loose"}
WHY = (
    "Why: the first layer of a zero-padded identity leaves all units beyond the width of the input silent. A silent ReLU "
    "passes no gradient, so they stay silent, and a middle layer can only change within the others. Stacked identities keep "
    "every unit busy; once the last layer, which is random, has broken the symmetry between copies, the layer can "
    "change in all directions."
)


@FINDINGS.register("rank")
def rank(tables: Mapping[str, pd.DataFrame]) -> Findings:
    """The zero-padded identity never leaves the width of the input; stacked identities do, by small singular values."""
    ranks, losses = tables["ranks"], tables["losses"]
    return Findings(
        {"C11": _verdict(_last(ranks))},
        (WHY, *_table(_last(ranks), _last(losses))),
        (
            Picture(
                "rank",
                f"Above: singular values above {THRESHOLD:g} of the largest, of what training has added to the middle layer; "
                "mean of the seeds. Below: its singular values after training, one seed, from which the rank at any threshold "
                "can be read. Dashed: the width of the input. IDInit lies under its loose form.",
                partial(_draw, ranks, tables["spectrum"]),
            ),
        ),
    )


def _last(table: pd.DataFrame) -> pd.DataFrame:
    return select(table, step=table["step"].max())


def _problems(table: pd.DataFrame) -> list[tuple[str, int, int]]:
    return list(dict.fromkeys(table[["data", "inputs", "width"]].itertuples(index=False, name=None)))


def _verdict(ranks: pd.DataFrame) -> Finding:
    """Reproduced where the rank exceeds the width of the input at every threshold from ``COARSE`` down to ``THRESHOLD``.

    Partly where it does at ``THRESHOLD`` only, by singular values that hardly matter; the zero-padded identity must not
    exceed the width at any of them. Problems with fewer than ``ENOUGH`` seeds have no say.
    """
    robust, fine, phrases = [], [], []
    for data, inputs, width in _problems(ranks):
        own = select(ranks, data=data, width=width)
        own = own[own["threshold"].between(0.99 * THRESHOLD, 1.01 * COARSE)]
        if not {"zero_padded", "idinit"} <= set(own["start"]):
            return Finding("not run at this scale", "there are no runs of both IDInit and the zero-padded identity")
        lowest = select(own, start="idinit").groupby("threshold")["rank"].min()
        capped = select(own, start="zero_padded")["rank"].max() <= inputs
        seeds = own.groupby("start")["seed"].nunique().min()
        if seeds >= ENOUGH:
            robust.append(capped and lowest.min() > inputs)
            fine.append(capped and lowest.iloc[0] > inputs)
        means = own.groupby(["start", "threshold"])["rank"].mean()
        counts = "; ".join(
            f"above {threshold:g} of the largest are {means['idinit', threshold]:.0f} singular values with IDInit and "
            f"{means['zero_padded', threshold]:.0f} zero-padded"
            for threshold in sorted(set(own["threshold"]), reverse=True)
        )
        phrases.append(
            f"{_name(data)}, {inputs} inputs, width {width}, {pluralize(seeds, 'seed')}: {counts}; IDInit's are more than the "
            f"inputs {_from(own, inputs)}"
        )
    outcome: Outcome = "partly" if any(fine) else "not reproduced"
    if not fine:
        outcome = "not enough runs"
    elif all(robust):
        outcome = "reproduced"
    rests = f", by singular values below {COARSE:g} of the largest alone" if outcome == "partly" and not any(robust) else ""
    widest = ranks[(ranks["inputs"] == ranks["inputs"].max()) & np.isclose(ranks["threshold"], COARSE)]
    means = widest.groupby("start")["rank"].mean()
    headline = Headline(
        f"{means['idinit']:.0f} against {widest['inputs'].iloc[0]}",
        f"rank by singular values above {COARSE:g} of the largest, against the input width",
        n=int(widest["seed"].nunique()),
    )
    evidence = f"{'; '.join(phrases)}. The rank grows past the inputs{rests}" if any(fine) else "; ".join(phrases)
    return Finding(outcome, evidence, headline)


def _from(ranks: pd.DataFrame, inputs: int) -> str:
    """From which threshold downwards the rank with IDInit exceeds the width of the input."""
    lowest = select(ranks, start="idinit").groupby("threshold")["rank"].min()
    beyond = lowest[lowest > inputs]
    return f"at thresholds of {max(beyond.index):g} and less" if len(beyond) else "at no threshold"


def _name(data: str) -> str:
    """The images without their size, which the study changes."""
    return re.sub(r" \(\d+x\d+\)", "", data)


def _table(ranks: pd.DataFrame, losses: pd.DataFrame) -> list[Block]:
    thresholds = sorted(set(ranks["threshold"]), reverse=True)
    rows = []
    for data, inputs, width in _problems(ranks):
        own, trained = (select(table, data=data, width=width) for table in (ranks, losses))
        for start in dict.fromkeys(own["start"]):
            means = select(own, start=start).groupby("threshold")["rank"].mean()
            mine = select(trained, start=start).mean(numeric_only=True)
            values = [f"{means[threshold]:.0f}" for threshold in thresholds]
            seeds = pluralize(own["seed"].nunique(), "seed")
            rows.append(
                [
                    f"{_name(data)}, {inputs} inputs, width {width}, {seeds}",
                    NAMES[start],
                    *values,
                    f"{100 * mine['accuracy']:.1f} %",
                ]
            )
    head = ["data", "start", *(f"rank at {threshold:g}" for threshold in thresholds), "train accuracy"]
    heading = (
        "Rank of what training has added to the middle layer, by threshold: the share of the largest singular value above "
        "which one counts; mean of the seeds."
    )
    return [heading, table("Rank by threshold", head, rows, left=2)]


def _draw(ranks: pd.DataFrame, spectrum: pd.DataFrame) -> Figure:
    problems = _problems(ranks)
    figure = Figure(figsize=(4.8 * len(problems), 6.4), layout="constrained")
    axes = figure.subplots(2, len(problems), squeeze=False)
    fine = ranks[np.isclose(ranks["threshold"], THRESHOLD) & (ranks["layer"] == ranks["layer"].min())]
    for column, (data, inputs, width) in enumerate(problems):
        above, below = axes[0][column], axes[1][column]
        for index, start in enumerate(NAMES):
            own = {"data": data, "width": width, "start": start}
            means = select(fine, **own).groupby("step")["rank"].mean()
            above.plot(means.index, means, label=NAMES[start], **line_style(index))
            values = select(spectrum, **own)
            values = select(values, layer=values["layer"].min())
            below.plot(values["index"], values["share"].clip(1e-18), markevery=16, **line_style(index))
        above.axhline(inputs, color="#555555", linestyle="--", linewidth=1)
        below.axvline(inputs, color="#555555", linestyle="--", linewidth=1)
        below.axhline(THRESHOLD, color="#555555", linestyle=":", linewidth=1)
        above.set(
            title=f"{_name(data)}: {inputs} inputs, width {width}", xlabel="step", xscale="log", ylabel=f"rank at {THRESHOLD:g}"
        )
        below.set(xlabel="index", ylabel="singular value / largest", yscale="log", ylim=(1e-17, 2))
    axes[0][0].legend(frameon=False)
    return figure
