"""Distances of the singular values of deep networks from 1 before training, and the effect on signals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import get_args

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...report.blocks import Block, Picture
from ...report.figures import line_style
from ...report.outcomes import Finding, Headline
from ...report.table import table
from ..findings import FINDINGS, Findings, all_or_some, draw_legend, draw_shares, present, select
from ..tools.deep_networks import Signs
from .measure import CENTRE, NEAR

NETWORKS = {
    "mlp": "MLP",
    "residual_mlp": "residual MLP",
    "allconv": "AllConv",
    "resnet": "ResNet",
    "pre_norm": "pre-norm Transformer",
    "post_norm": "post-norm Transformer",
}
ACTIVATIONS = {"relu": "ReLU", "tanh": "tanh", "gelu": "GELU", "silu": "SiLU"}
DRAWN = ("idinit", CENTRE, "zero", "fixup", "rezero", "default", "xavier", "kaiming", "orthogonal", "delta_orthogonal", "gpt2")
LIMITS = (1e-8, 1e8)  # of what is drawn
INPUTS: tuple[Signs, ...] = get_args(Signs)
ISOMETRY = 0.99  # share of singular values near 1 from which on a network counts as an isometry
WHY = (
    "How to read it: the mean square of the singular values says whether a network is *critical*, that is whether a small "
    "change of its input keeps its size on average; only if all of them are near 1 is it a *dynamical isometry*, in which no "
    "direction is lost. Orthogonal and Kaiming weights can be critical under ReLU and are no isometry: half of the units are "
    "off, and other ones at each layer.\n\n"
    "An identity keeps what is positive as it is, at any depth. Of an input of both signs the first ReLU takes what is not "
    "positive, and the others take no more. Residual branches that are zero do the same, whatever is inside them, where a ReLU "
    "follows the sum; where nothing follows it they lose nothing, at any input. An entry that is exactly 0, as a ReLU leaves "
    "it, has no slope at the next one, unless the branch adds something positive there, which exact zeros never do. tanh, GELU "
    "and SiLU are no identity, and no tau or branch before them makes up for it.\n\n"
    "Two more exceptions: the identity laid out by patches reads as many channels as there are outputs over taps, here one of "
    "eight, so that a plain convolutional network soon carries nothing; and a norm after the sum removes two directions of "
    "each token, and divides by the deviation of an input that has another one than 1, so that no method makes a post-norm "
    "Transformer an isometry."
)


@FINDINGS.register("isometry")
def isometry(tables: Mapping[str, pd.DataFrame]) -> Findings:
    """All singular values of the blocks' Jacobian at initialization."""
    if "spectra" not in tables:
        return Findings({"C13": Finding("not run at this scale", "no initializer can do any of the networks")}, (WHY,), ())
    spectra = tables["spectra"]
    first = select(spectra, activation=spectra["activation"].iloc[0])
    deepest = select(first, depth=first["depth"].max())
    pictures = [
        Picture(
            "isometry",
            f"Singular values between {NEAR[0]:g} and {NEAR[1]:g}, in percent of all: left at the greatest depth with "
            f"{_activation(deepest)}, "
            "right IDInit with every activation at the greatest depth they share. Empty: the method cannot do the network.",
            partial(_draw_near, spectra, deepest),
        ),
        Picture(
            "spectra",
            f"All singular values of the Jacobian of {_layers(tables['values'])}, in ascending order, "
            f"from {LIMITS[0]:g} to {LIMITS[1]:g}: what is beyond, 0 included, lies on the edge. IDInit is drawn on top: where "
            "several methods give 1 throughout, it covers them.",
            partial(_draw_spectra, tables["values"]),
        ),
        Picture(
            "signals",
            "Root mean square of activations (above) and gradients (below) on the way through "
            f"{_layers(deepest)}, from {LIMITS[0]:g} to {LIMITS[1]:g}, what is beyond on the edge; IDInit on top.",
            partial(_draw_signals, tables["signals"]),
        ),
        Picture(
            "tau",
            "Mean square of the singular values of a perceptron of IDI(tau) at one input, by tau and activation; the network "
            "is critical where a line crosses 1. Left: a positive input; right: one of both signs.",
            partial(_draw_tau, tables["tau"]),
        ),
    ]
    return Findings({"C13": _verdict(deepest, tables["inputs"])}, (WHY, *_tables(deepest, tables)), tuple(pictures))


def _activation(table: pd.DataFrame) -> str:
    """The nonlinearity of the networks of a table, the same for all."""
    return ACTIVATIONS[table["activation"].iloc[0]]


def _layers(table: pd.DataFrame) -> str:
    """The networks of a table, all of one depth and nonlinearity: ``100 layers with ReLU``."""
    return f"{table['depth'].iloc[0]} layers with {_activation(table)}"


def _verdict(deepest: pd.DataFrame, inputs: pd.DataFrame) -> Finding:
    ours = select(deepest, start="idinit").set_index("network")
    if ours.empty:
        return Finding("not run at this scale", "IDInit was not run")
    holds = {str(network): near >= ISOMETRY for network, near in ours["near"].items()}
    ranges = [f"{NETWORKS[network]} {_range(ours.loc[network])}" for network in NETWORKS if network in holds]
    others = select(deepest, start=CENTRE, network="allconv")
    centre = f" ({_range(others.iloc[0])} with the identity on the centre tap)" if len(others) else ""
    phrases = [text + centre if text.startswith("AllConv") else text for text in ranges]
    through = f"{deepest['depth'].iloc[0]} layers, {_activation(deepest)} and positive inputs"
    both = select(inputs, start="idinit", signs="both").set_index("network")["near"]
    kept = ", ".join(f"{NETWORKS[network]} {100 * both[network]:.0f} %" for network in NETWORKS if holds.get(network))
    at_both = (
        f"; of those at an input of both signs, through {inputs['depth'].iloc[0]} layers, are near 1: {kept}" if kept else ""
    )
    label = f"networks of {deepest['depth'].iloc[0]} layers with singular values near 1"
    headline = Headline(f"{sum(holds.values())} of {len(holds)}", label)
    evidence = f"singular values of IDInit's Jacobian through {through}: {', '.join(phrases)}{at_both}"
    return Finding(all_or_some(holds.values()), evidence, headline)


def _range(row: pd.Series) -> str:
    return f"{row['lowest']:.3g} to {row['highest']:.4g}"


def _tables(deepest: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> list[Block]:
    networks = present(NETWORKS, deepest["network"])
    by_place = deepest.set_index(["start", "network"])
    rows = []
    for start in sorted(set(deepest["start"])):
        cells = [_range(by_place.loc[start, n]) if (start, n) in by_place.index else "–" for n in networks]
        rows.append([str(start), *cells])
    spectrum = (
        f"Smallest to largest singular value through {_layers(deepest)}; “nan” where the Jacobian is not finite, “–” where the "
        "method cannot do the network."
    )
    return [
        spectrum,
        table("Smallest to largest singular value", ["start", *(NETWORKS[n] for n in networks)], rows),
        *_inputs(tables["inputs"], networks),
        *_taus(tables["tau"]),
        _lanczos(tables["lanczos"]),
    ]


def _inputs(inputs: pd.DataFrame, networks: Sequence[str]) -> list[Block]:
    """The share near 1 by kind of input, of the starts that are an isometry of some network at a positive one."""
    shares = inputs.pivot(index=["start", "network"], columns="signs", values="near")
    isometries = sorted({str(start) for start, _ in shares.index[shares["positive"] >= ISOMETRY]})
    rows = []
    for start in isometries:
        own = shares.loc[start]
        cells = [" / ".join(f"{100 * own.loc[n, signs]:.0f}" for signs in INPUTS) if n in own.index else "–" for n in networks]
        rows.append([start, *cells])
    lead = (
        f"Singular values between {NEAR[0]:g} and {NEAR[1]:g}, in percent of all, through {_layers(inputs)}: at a positive "
        "input / at one of both signs / at what a ReLU leaves of that one; of the starts that are an isometry of some network "
        "at the first."
    )
    return [lead, table("Singular values near 1 by input", ["start", *(NETWORKS[n] for n in networks)], rows)]


def _taus(tau: pd.DataFrame) -> list[Block]:
    rows = []
    for (activation, signs), own in tau.groupby(["activation", "signs"], sort=False):
        rows.append([str(activation), "positive" if signs == "positive" else "of both signs", *_critical(own)])
    head = ["activation", "input", "critical at tau", "mean square there", "singular values there"]
    text = f"tau by activation, a perceptron of {tau['depth'].iloc[0]} layers at one input; where none of the values of tau is"
    lead = f"{text} critical, the two around it or the nearest are given."
    return [lead, table("tau by activation", head, rows, left=2)]


def _critical(own: pd.DataFrame) -> tuple[str, str, str]:
    """The tau at which the mean square of the singular values is 1, or passes 1 first, or comes nearest."""
    own = own.sort_values("tau").reset_index(drop=True)
    distance = np.log(own["mean_square"].clip(lower=1e-300))
    passed = [i for i in range(1, len(own)) if distance[i - 1] < 0 <= distance[i]]
    nearest = distance.abs().idxmin()
    if abs(distance[nearest]) < 1e-3:
        rows, where = own.loc[[nearest]], f"{own['tau'][nearest]:.3g}"
    elif passed:
        rows = own.loc[[passed[0] - 1, passed[0]]]
        where = " to ".join(f"{tau:.3g}" for tau in rows["tau"])
    else:
        rows, where = own.loc[[nearest]], f"none, nearest {own['tau'][nearest]:.3g}"
    squares = " to ".join(f"{value:.3g}" for value in rows["mean_square"])
    return where, squares, f"{rows['lowest'].min():.3g} to {rows['highest'].max():.3g}"


def _lanczos(lanczos: pd.DataFrame) -> str:
    error = lanczos["relative_error"].max()
    times = ", ".join(f"{own['seconds'].max():.2g} s at width {width}" for width, own in lanczos.groupby("width"))
    return (
        f"Largest singular values by Lanczos iteration instead of the whole matrix: relative error at most {error:.1g} where "
        f"both were computed; it took {times}."
    )


def _draw_near(spectra: pd.DataFrame, deepest: pd.DataFrame) -> Figure:
    networks = present(NETWORKS, deepest["network"])
    starts = present(DRAWN, deepest["start"])
    starts += sorted(set(deepest["start"]) - set(starts))
    figure = Figure(figsize=(11.5, 0.3 * len(starts) + 1.9), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
    _shares(left, deepest.pivot(index="start", columns="network", values="near").reindex(index=starts, columns=networks))
    left.set_title(f"{_activation(deepest)}, {deepest['depth'].iloc[0]} layers", fontsize=9)
    shared = spectra.groupby("activation")["depth"].max().min()
    ours = select(spectra, start="idinit", depth=shared)
    activations = list(dict.fromkeys(spectra["activation"]))
    _shares(
        right, ours.pivot(index="activation", columns="network", values="near").reindex(index=activations, columns=networks)
    )
    right.set_title(f"IDInit, {shared} layers", fontsize=9)
    return figure


def _shares(ax: Axes, table: pd.DataFrame) -> None:
    draw_shares(ax, table, (100 * table).map(lambda share: f"{share:.0f}" if np.isfinite(share) else ""), fontsize=8)
    ax.set_yticks(range(len(table.index)), [str(name) for name in table.index])
    ax.set_xticks(range(len(table.columns)), [NETWORKS[str(n)].replace(" ", "\n") for n in table.columns], fontsize=7)


def _draw_spectra(values: pd.DataFrame) -> Figure:
    return _panels(values, [("value", "quantile", "singular value")], "share of the singular values")


def _draw_signals(signals: pd.DataFrame) -> Figure:
    rows = [("activation_size", "share", "size of activations"), ("gradient_size", "share", "size of gradients")]
    return _panels(signals, rows, "share of the depth")


def _panels(table: pd.DataFrame, rows: Sequence[tuple[str, str, str]], xlabel: str) -> Figure:
    """One panel a network and row, three networks a line, one line a start; rows are column, column along x, and label."""
    networks = present(NETWORKS, table["network"])
    across = min(3, len(networks))
    down = -(-len(networks) // across) * len(rows)
    figure = Figure(figsize=(3.4 * across + 1.6, 2.4 * down + 0.3), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    for row, (column, along, label) in enumerate(rows):
        for place, network in enumerate(networks):
            ax = axes[place // across * len(rows) + row][place % across]
            for index, start in enumerate(DRAWN):
                line = select(table, network=network, start=start).sort_values(along)
                if len(line):
                    look = line_style(index) | ({"zorder": 3, "linewidth": 2.2} if start == "idinit" else {})
                    ax.plot(line[along], line[column].clip(*LIMITS), markevery=8, label=start, clip_on=False, **look)
            ax.set(yscale="log", ylim=LIMITS, yticks=np.geomspace(*LIMITS, 5))
            if row == 0:
                ax.set_title(NETWORKS[network], fontsize=9)
            if place % across == 0:
                ax.set_ylabel(label)
    for ax in axes[-1]:
        ax.set_xlabel(xlabel)
    draw_legend(figure, DRAWN, loc="outside right center")
    return figure


def _draw_tau(tau: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for ax, signs in zip(figure.subplots(1, 2, sharey=True), ("positive", "both"), strict=True):
        for index, activation in enumerate(dict.fromkeys(tau["activation"])):
            line = select(tau, activation=activation, signs=signs)
            ax.plot(line["tau"], line["mean_square"], label=activation, **line_style(index))
        ax.axhline(1, color="#555555", linewidth=1, linestyle="--")
        title = "a positive input" if signs == "positive" else "an input of both signs"
        ax.set(yscale="log", xlabel="tau", title=f"{title}, {tau['depth'].iloc[0]} layers", xlim=(0.88, 1.16), ylim=(1e-6, 1e6))
    figure.axes[0].set_ylabel("mean square of the singular values")
    figure.axes[0].legend(frameon=False)
    return figure
