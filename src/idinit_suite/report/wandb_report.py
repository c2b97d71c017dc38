"""Weights & Biases from the run folders and the archive: all runs mirrored, and a report with curves by initializer."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

from idinit.errors import UsageError

from ..config import PathsConfig, WandbConfig, checked, compose, resolve
from ..config.experiment import ExperimentInfo, list_experiments
from ..tracking.wandb_mirror import logged_in, mirror
from ..training.progress import console
from ..training.run_folder import RunFolder

_LOG_IN = "W&B: you are not logged in: run `wandb login`, or set WANDB_API_KEY"


def mirror_all(overrides: Sequence[str]) -> list[str]:
    """Mirrors every training, old or new; what W&B has already stays as it is. Studies have no curves to show there.

    Args:
        overrides: Hydra overrides: ``wandb.mode=offline`` writes files for ``wandb sync``; ``wandb.project``, ``paths.runs``.

    Returns:
        The names of the runs that could not be mirrored.

    Raises:
        UsageError: If nobody is logged in and the mode is not ``offline``, or there is no folder of runs.
    """
    settings = resolve(compose([*overrides]))
    wandb = checked(WandbConfig, settings["wandb"], "wandb")
    runs = checked(PathsConfig, settings["paths"], "paths").runs
    if wandb.mode == "disabled":
        raise UsageError("wandb.mode=disabled mirrors nothing: leave it out, or set wandb.mode=offline")
    if wandb.mode != "offline" and not logged_in():
        raise UsageError(f"{_LOG_IN}; wandb.mode=offline writes files that `wandb sync` sends later")
    if not runs.is_dir():
        raise UsageError(f"there is no folder of runs '{runs}': set paths.runs=..., or train something first")
    folders = [path.parent for path in sorted(runs.glob("*/*/metrics.jsonl"))]
    studies = list_experiments("study")
    folders = [f for f in folders if f.parent.name not in studies and RunFolder(f).status() is not None]
    if not folders:
        console.print(f"W&B: no run in {runs} has begun, so there is nothing to mirror", soft_wrap=True)
    failed = []
    for number, folder in enumerate(folders, start=1):
        console.print(f"[{number}/{len(folders)}] {folder.name}", markup=False)
        if not mirror(folder, mode="offline" if wandb.mode == "offline" else "online", project=wandb.project):
            failed.append(folder.name)
    return failed


def build_report(overrides: Sequence[str]) -> str:
    """Builds a W&B report of an experiment's runs: curves grouped by initializer, the claims, the deviations.

    Args:
        overrides: Hydra overrides: ``experiment=NAME``, ``wandb.project``.

    Returns:
        The report's address.

    Raises:
        UsageError: If no experiment is named, or nobody is logged in.
    """
    settings = resolve(compose(overrides))
    if "title" not in (settings["experiment"] or {}):
        raise UsageError("which experiment? Run `make wandb-report EXPERIMENT=NAME`")
    if not logged_in():
        raise UsageError(f"{_LOG_IN}; `make wandb` then sends the runs that the report shows")
    report = report_of(ExperimentInfo(**settings["experiment"]), settings["wandb"]["project"])
    report.save()
    return str(report.url)


def report_of(info: ExperimentInfo, project: str) -> Any:
    """The report, not yet saved.

    Args:
        info: The head of the experiment's config.
        project: The W&B project with its runs.

    Returns:
        A ``wandb_workspaces.reports.v2.Report``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is written for an older pydantic
        import wandb_workspaces.reports.v2 as reports

        return _composed(reports, info, project)


def _composed(wr: Any, info: ExperimentInfo, project: str) -> Any:
    panels = [
        wr.LinePlot(title=f"{split} {metric}", x="epoch", y=[f"{split}/{metric}"], groupby="arm", groupby_aggfunc="mean",
                    groupby_rangefunc="stderr")
        for split, metric in (("validation", "accuracy"), ("test", "accuracy"), ("train", "loss"), ("validation", "loss"))
    ]  # fmt: skip
    runs = wr.Runset(project=project, name=info.name, groupby=["config.budget", "config.arm"],
                      filters=f"Config('experiment') == '{info.name}' and Config('phase') == 'main'")  # fmt: skip
    claims = [f"{claim.id}: {claim.text} The paper: {claim.paper} ({claim.tag})." for claim in info.claims]
    return wr.Report(
        project=project,
        entity=os.environ.get("WANDB_ENTITY", ""),  # empty: the account that is logged in
        title=info.title,
        description=info.command,
        blocks=[
            wr.H1(text="Curves by initializer"),
            wr.PanelGrid(runsets=[runs], panels=panels),
            wr.H1(text="Claims"),
            wr.UnorderedList(items=claims),
            wr.H1(text="Deviations from the paper"),
            wr.OrderedList(items=list(info.deviations)),
        ],
        width="fluid",
    )
