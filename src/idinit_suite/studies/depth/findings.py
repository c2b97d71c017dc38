"""Loss after a fixed number of steps against depth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from matplotlib.transforms import ScaledTranslation

from ...archive.edges import edge, marked, with_legend
from ...report.blocks import Block, Picture
from ...report.figures import line_style
from ...report.outcomes import Finding, Headline, Outcome
from ...report.table import table
from ..findings import FINDINGS, Findings, draw_legend, present, select

CHANCE = math.log(10)  # loss of ten equally likely classes
LEARNS = 0.9  # of it: a network whose loss ends below has learned something
NAMES = ("idinit", "xavier", "kaiming", "default", "fixup", "skipinit", "rezero", "zero")
DEEP = 100  # layers from which on the claim calls a network deep
RIVALS = ("xavier", "kaiming")
_APART = 0.04  # inches between lines that would coincide


@FINDINGS.register("depth")
def depth(tables: Mapping[str, pd.DataFrame]) -> Findings:
    """At each depth, each start at the rate with the most successes and then the lowest loss."""
    best = _best(tables["losses"])
    return Findings(
        {"C1": _verdict(best)},
        tuple(_table(best)),
        (
            Picture(
                "depth",
                f"Left: training loss at the end, mean of the seeds; lines that leave the frame go to twice that of chance "
                f"({CHANCE:.2f}) or beyond. Right: share "
                f"of the runs that end below {LEARNS:g} times chance; the lines are drawn a little apart.",
                partial(_draw, best),
            ),
        ),
    )


def _best(losses: pd.DataFrame) -> pd.DataFrame:
    losses = losses.assign(loss=losses["loss"].fillna(math.inf))
    losses = losses.assign(learned=losses["loss"] < LEARNS * CHANCE)
    means = losses.groupby(["depth", "start", "rate"], as_index=False).agg(
        loss=("loss", "mean"), learned=("learned", "mean"), runs=("loss", "size")
    )
    ranked = means.sort_values(["learned", "loss"], ascending=[False, True], kind="stable")
    best = ranked.groupby(["depth", "start"], as_index=False).first()
    return best.assign(edge=[edge(losses["rate"], rate) for rate in best["rate"]])


def _verdict(best: pd.DataFrame) -> Finding:
    """Reproduced where IDInit learns in every run and the rivals in none, partly where a rival learns in none at some depth."""
    deep = best[best["depth"] >= DEEP]
    if not {"idinit", *RIVALS} <= set(deep["start"]):
        return Finding("not run at this scale", f"IDInit, Xavier and Kaiming were not all run at {DEEP} layers or more")
    rates = {start: select(deep, start=start)["learned"] for start in ("idinit", *RIVALS)}
    outcome: Outcome = "not reproduced"
    if min(rates["idinit"]) == 1 and any(min(rates[start]) < 1 for start in RIVALS):
        outcome = "undecided"  # some runs fail by chance
        if any(min(rates[start]) == 0 for start in RIVALS):
            outcome = "reproduced" if all(max(rates[start]) == 0 for start in RIVALS) else "partly"
    deepest: dict[str, int] = {}
    for start in present(NAMES, best["start"]):
        deepest[start] = max(select(best, start=start, learned=1)["depth"], default=0)
    number = f"{deepest['idinit']} against {max(deepest[start] for start in RIVALS)} layers"
    headline = Headline(number, "the deepest network that every run learned in: IDInit against Xavier and Kaiming")
    phrases = ", ".join(f"{start} {layers}" for start, layers in deepest.items())
    return Finding(outcome, f"the deepest network that every run learned in: {phrases} layers (0: none)", headline)


def _table(best: pd.DataFrame) -> list[Block]:
    depths = sorted(set(best["depth"]))
    rows = []
    for start in present(NAMES, best["start"]):
        own = select(best, start=start).set_index("depth").to_dict("index")
        cells = []
        for layers in depths:
            at = own[layers]
            loss = "diverged" if math.isinf(at["loss"]) else f"{at['loss']:.2f}" if at["loss"] < 100 else f"{at['loss']:.0e}"
            cells.append(f"{loss} ({100 * at['learned']:.0f} %; {marked(at['rate'], at['edge'])})")
        rows.append([start, *cells])
    head = ["start", *(f"{layers} layers" for layers in depths)]
    lead = "Training loss at the end (runs that learned; rate), each at its best rate."
    return [with_legend(lead, best["edge"]), table("Training loss by depth", head, rows)]


def _draw(best: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(10.5, 4), layout="constrained")
    loss, learned = figure.subplots(1, 2)
    starts = present(NAMES, best["start"])
    for number, start in enumerate(starts):
        own, style = select(best, start=start).sort_values("depth"), line_style(NAMES.index(start))
        loss.plot(own["depth"], own["loss"].clip(upper=2 * CHANCE), label=start, **style)
        (line,) = learned.plot(own["depth"], own["learned"], label=start, **style)
        beside = ScaledTranslation(0, ((len(starts) - 1) / 2 - number) * _APART, figure.dpi_scale_trans)
        line.set_transform(learned.transData + beside)
    loss.axhline(CHANCE, color="#555555", linestyle=":", linewidth=1)
    loss.annotate("chance", (1.0, CHANCE), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8)
    loss.set(xlabel="layers", ylabel="training loss at the end", xscale="log", ylim=(None, 1.15 * CHANCE))
    learned.set(xlabel="layers", ylabel="runs that learn", xscale="log", ylim=(-0.08, 1.08))
    learned.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    draw_legend(figure, NAMES, loc="outside right center")
    return figure
