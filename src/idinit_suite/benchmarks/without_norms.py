"""The effect of initialization on other libraries' networks without normalization layers: a few steps on digits."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F

from idinit.errors import UsageError
from idinit.initialize import initialize_

from ..archive.edges import LEGEND, edge, marked
from ..atomic import read_csv, write_csv
from ..report.blocks import Block, Heading, write_markdown
from ..report.page import this_machine
from ..report.table import table
from ..training.progress import console
from .norm_free import CASES, Case

RATES = (3e-4, 1e-3, 3e-3)
SEEDS = (0, 1, 2)
STEPS, BATCH, LAST = 200, 32, 20  # LAST: steps over which the loss is averaged
COLUMNS = ("network", "method", "rate", "seed", *(f"loss_{step}" for step in (50, 100, STEPS)))
Row = dict[str, str]


def measure(path: Path, cases: Mapping[str, Case] = CASES, seeds: Sequence[int] = SEEDS, steps: int = STEPS) -> list[Row]:
    """Trains what a file of results does not have yet, and writes each result as soon as it is there.

    The rate is searched for with the first seed, and the best one trains the others.

    Args:
        path: The training.csv to complete; its folder is made if missing.
        cases: The networks.
        seeds: Of the initialization and of the order of the pictures.
        steps: Steps of a run.

    Returns:
        All rows.
    """
    rows = read_csv(path)
    for network, case in cases.items():
        for method in case.methods:
            for rate in RATES:
                _complete(path, rows, case, (network, method, f"{rate:g}", str(seeds[0])), steps)
            best = best_rate(rows, network, method)
            for seed in seeds[1:]:
                _complete(path, rows, case, (network, method, best, str(seed)), steps)
    return rows


def best_rate(rows: Iterable[Row], network: str, method: str) -> str:
    """The rate with the lowest last loss of the seed that searches, which is the first one of the rows."""
    found = [row for row in rows if (row["network"], row["method"]) == (network, method)]
    searched = [row for row in found if row["seed"] == found[0]["seed"]]
    return min(searched, key=lambda row: _number(row[COLUMNS[-1]]))["rate"]


def train(case: Case, method: str, rate: float, seed: int, steps: int = STEPS) -> list[float]:
    """Trains a network by Adam on scikit-learn's digits in float32; the losses of the steps, the last one possibly NaN."""
    digits = load_digits()
    pictures, labels = torch.tensor(digits.images, dtype=torch.float32) / 16, torch.tensor(digits.target)
    inputs = case.read(pictures)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # what the model's library draws
        model = case.build()
    initialize_(model, method, (inputs[:2],), seed=seed)
    case.change(model)
    optimizer = torch.optim.Adam(model.parameters(), rate)
    order = torch.Generator().manual_seed(seed)
    losses: list[float] = []
    while len(losses) < steps and all(map(math.isfinite, losses[-1:])):
        chosen = torch.randint(len(labels), (BATCH,), generator=order)
        loss = F.cross_entropy(model(inputs[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def training_page(rows: Sequence[Row]) -> list[Block]:
    """The blocks of the page of the results: medians over the seeds at the best rate, and their range."""
    networks = list(dict.fromkeys(row["network"] for row in rows))
    cells = [
        (network, method, *_summary(rows, network, method))
        for network in networks
        for method in dict.fromkeys(row["method"] for row in rows if row["network"] == network)
    ]
    marks = [column.partition("_")[2] for column in COLUMNS[4:]]
    losses = table("Loss", ["network", "method", "rate", *(f"step {mark}" for mark in marks), "range", "seeds"], cells, left=2)
    rates = ", ".join(f"{rate:g}" for rate in RATES)
    text = (
        "Made by `scripts/bench.py training` from `training.csv` in this folder, which it completes. Networks of others whose "
        "normalization layers are identities, filled by `idinit.initialize_`, learn scikit-learn's digits with Adam in "
        f"float32, batches of {BATCH}, {STEPS} steps. Of each method the rate is the best of {rates} for the last loss of seed "
        f"{SEEDS[0]}; the other seeds train with it. A loss is the mean of {LAST} steps up to the step named, the median over "
        "the seeds, and the range is that of the last. Chance is "
        f"{math.log(10):.2f}; a run that meets a loss that is not finite ends there and counts as infinite. {LEGEND}"
    )
    return [Heading(1, "Training without normalization"), text, losses, f"Last completed with {this_machine()}."]


def write_training(folder: Path) -> None:
    """Measures what is missing, and writes ``training.csv`` and ``training.md`` in a folder, which is made if missing."""
    rows = measure(folder / "training.csv")
    write_markdown(folder / "training.md", training_page(rows))


def _complete(path: Path, rows: list[Row], case: Case, key: tuple[str, str, str, str], steps: int) -> None:
    """Trains a run and appends its row, where there is none."""
    if any(tuple(row[column] for column in COLUMNS[:4]) == key for row in rows):
        return
    _, method, rate, seed = key
    try:
        losses = train(case, method, float(rate), int(seed), steps)
    except UsageError as error:  # the method refuses the network
        console.print(f"{' '.join(key)}: {error}", soft_wrap=True)
        losses = []
    means = [_mean(losses, int(column.partition("_")[2]) * steps // STEPS) for column in COLUMNS[4:]]
    rows.append(dict(zip(COLUMNS, (*key, *means), strict=True)))
    write_csv(path, COLUMNS, rows)
    console.print("  ".join((*key, *means)), soft_wrap=True)


def _mean(losses: Sequence[float], end: int) -> str:
    """Mean of the losses up to a step: "nan" where the run did not get there, "refused" where there was none."""
    if not losses:
        return "refused"
    return f"{statistics.fmean(losses[max(0, end - LAST) : end]):.3f}" if len(losses) >= end else "nan"


def _summary(rows: Sequence[Row], network: str, method: str) -> list[str]:
    best = best_rate(rows, network, method)
    runs = [row for row in rows if (row["network"], row["method"], row["rate"]) == (network, method, best)]
    if runs[0][COLUMNS[-1]] == "refused":
        return ["", *["refused"] * len(COLUMNS[4:]), "", ""]
    ends = [_number(row[COLUMNS[-1]]) for row in runs]
    medians = [statistics.median(_number(row[column]) for row in runs) for column in COLUMNS[4:]]
    if min(ends) == math.inf:  # at every rate that was tried
        return ["", *map(_shown, medians), "diverged", str(len(runs))]
    rate = float(best)
    return [
        marked(rate, edge(RATES, rate)),
        *map(_shown, medians),
        f"{_shown(min(ends))} to {_shown(max(ends))}",
        str(len(runs)),
    ]


def _shown(loss: float) -> str:
    return f"{loss:.2f}" if math.isfinite(loss) else "diverged"


def _number(text: str) -> float:
    """A loss to compare: infinity where a run met no finite one."""
    return math.inf if text in ("nan", "refused") else float(text)
