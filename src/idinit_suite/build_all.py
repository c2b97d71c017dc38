"""``make report``: every archive brought up to date, then REPRODUCTION.md and report.html from all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from idinit.errors import UsageError

from .archive import runs as archive
from .archive import studies as study_archive
from .atomic import write_atomically
from .config.experiment import ExperimentInfo
from .coverage.runner import read_rows
from .coverage.verdict import judge as judge_coverage
from .experiments.grid import list_experiments, load, select
from .report.experiment_page import sections
from .report.html.render import Grid, Study, report_page
from .report.reproduction import Judged, reproduction
from .report.update import update_results
from .studies.config import load as load_study
from .studies.page import sections as study_sections
from .studies.results import update_results as update_study
from .training.progress import console


def selection(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """The experiments whose results are meant, and where things lie; see `update_everything`."""
    selected, places = select(overrides)
    for text in places:
        if not text.startswith("paths."):
            raise UsageError(f"'{text}' changes no run that was made: a report takes experiment=NAME and paths.runs=... only")
    return selected, places


def update_everything(overrides: Sequence[str]) -> Path:
    """Makes results/ again from the run folders and the archives.

    Args:
        overrides: Where things lie, such as ``paths.runs=...``, and ``experiment=a,b``: only their results are made again,
            and the pages over all experiments.

    Returns:
        The folder of all results.

    Raises:
        UsageError: If a run folder or an archive is damaged, or an override would change what an experiment is.
        OSError: If the results cannot be written.
    """
    selected, overrides = selection(overrides)
    grids: list[Grid] = []
    studies: list[Study] = []
    judged: list[Judged] = []
    for name in list_experiments():
        experiment = load([f"experiment={name}", *overrides])
        results = experiment.paths.results
        if name in selected:
            console.print(update_results(experiment.info, _folders(experiment.paths.runs / name), results / name))
        stored = archive.load(results / name)
        if found := sections(experiment.info, stored):
            grids.append(Grid(experiment.info, stored, found))
            judged.append(Judged(experiment.info, found[0].scale.budget, found[0].verdicts))
    for name in list_experiments("study"):
        info, config = load_study([f"experiment={name}", *overrides])
        if name in selected:
            console.print(update_study(info, _folders(config.paths.runs / name), results / name))
        for section in study_sections(info, study_archive.load(results / name))[:1]:
            pictures = [(p.caption, results / name / f"{p.name}{section.suffix}.svg") for p in section.findings.pictures]
            studies.append(Study(info, section.scale, section.verdicts, pictures))
            judged.append(Judged(info, section.scale.split()[0], section.verdicts))
    if coverage := judge_coverage(read_rows(results / "coverage" / "coverage.csv").values()):
        judged.append(coverage)
    grids.sort(key=lambda grid: _first_claim(grid.info))
    studies.sort(key=lambda study: _first_claim(study.info))
    judged.sort(key=lambda one: _first_claim(one.info))
    if judged:
        write_atomically(results / "REPRODUCTION.md", reproduction(judged).encode())
        write_atomically(results / "report.html", report_page(grids, studies, judged).encode())
        console.print(f"Written: {results / 'REPRODUCTION.md'} and {results / 'report.html'}", soft_wrap=True)
    return results


def _first_claim(info: ExperimentInfo) -> tuple[float, str]:
    """Sorts experiments by the claims that they test; those that test none come last."""
    return min((int(claim.id[1:]) for claim in info.claims), default=math.inf), info.name


def _folders(runs: Path) -> list[Path]:
    return sorted(path for path in runs.glob("*") if path.is_dir())
