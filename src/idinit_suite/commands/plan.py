"""Shows what each experiment costs on this machine, what is done and what is missing.

python -m idinit_suite plan budget=cpu
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Sequence

from rich.table import Table

from idinit.errors import UsageError, did_you_mean

from ..archive.variants import BUDGETS_LARGEST_FIRST
from ..config import key_of
from ..config.experiment import list_experiments
from ..errors import first_line, not_trained
from ..experiments.cost import Costs
from ..experiments.grid import load_experiment, select
from ..experiments.runner import outlook
from ..studies.archive import archived_studies
from ..studies.config import load_study
from ..training.progress import console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="Hydra override, as experiment=a,b or budget=cpu")


def run(arguments: argparse.Namespace) -> None:
    """Runs the subcommand.

    Raises:
        UsageError: If there is no experiment or budget of such a name.
    """
    plan(arguments.overrides)


def plan(overrides: Sequence[str]) -> None:
    """Prints what each experiment costs here at each budget, what is done and what is missing.

    Args:
        overrides: Overrides that hold for every experiment, such as ``paths.data=...``; ``budget=cpu`` and ``experiment=a,b``
            ask for some only.

    Raises:
        UsageError: If there is no experiment or budget of such a name.
    """
    selected, overrides = select(overrides)
    table = Table(title="What is missing, and the hours it would take on this machine, one run after the other")
    for heading in ("experiment", "budget", "runs", "done", "missing", "hours"):
        table.add_column(heading, justify="left" if heading in ("experiment", "budget") else "right")
    costs = functools.cache(Costs)
    given = [override.partition("=")[2] for override in overrides if key_of(override) == "budget"]
    asked = [budget for value in given for budget in value.split(",")]
    others = [override for override in overrides if key_of(override) != "budget"]
    refused: list[str] = []
    planned_grid = functools.partial(_planned, costs=costs, refused=refused)
    for budget in asked:
        if budget not in BUDGETS_LARGEST_FIRST:
            raise UsageError(f"unknown budget '{budget}': {did_you_mean(budget, BUDGETS_LARGEST_FIRST)}")
    for name in [name for name in list_experiments() if name in selected]:
        planned = _planned_study if name in list_experiments("study") else planned_grid
        for budget in asked or BUDGETS_LARGEST_FIRST:
            try:
                cells = planned([f"experiment={name}", *others, f"budget={budget}"])
            except UsageError as error:  # an override that means nothing to this experiment
                cells = ["", "", "", first_line(error)]
            table.add_row(name, budget, *cells)
    console.print(table)
    for line in refused:
        console.print(line, soft_wrap=True)


def _planned(overrides: Sequence[str], costs: Callable[[int], Costs], refused: list[str]) -> list[str]:
    """The cells of a row; adds a line for the variants that a sweep would refuse to train."""
    experiment = load_experiment(overrides)
    known, missing, of_other_data = outlook(experiment)
    reasons = {known.points[run]: reason for run, reason in of_other_data.items()}
    to_train = [config for config in missing if known.points[config.hash] not in reasons]
    try:
        measured = costs(experiment.launcher.world_size)
        measured.require_data(to_train)
        hours = f"{measured.total(to_train) / 3600:,.2f}"
    except UsageError as error:
        hours = first_line(error)
    runs, left = len(known.runs) + len(known.later), len(missing) + len(of_other_data)
    what = f"{experiment.info.name}, {known.runs[0].budget}"
    refused += [f"{what}: {line}" for line in not_trained({str(point): reason for point, reason in reasons.items()})]
    return [*map(str, (runs, runs - left, left)), hours]


def _planned_study(overrides: Sequence[str]) -> list[str]:
    """One run, whose cells differ too much to foretell their time from some of them: what the experiment's file says."""
    info, config = load_study(overrides)
    done = config.hash in archived_studies(config.paths.results / info.name)
    return ["1", str(int(done)), str(int(not done)), "0.00" if done else info.cost]
