"""``make report``: every archive brought up to date, then REPRODUCTION.md and report.html from all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from idinit.errors import UsageError

from .atomic import write_atomically
from .config import PathsConfig, checked, compose, resolve
from .config.experiment import ExperimentInfo, list_experiments
from .coverage.page import update_coverage_page
from .experiments.grid import load_experiment, select
from .report.blocks import write_markdown
from .report.html.render import report_page
from .report.page import Page
from .report.reproduction import reproduction
from .report.update import GRID, Kind, archived_page, update_page
from .studies.config import asks_for_a_study, load_study
from .studies.page import STUDY
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
    results = checked(PathsConfig, resolve(compose(overrides))["paths"], "paths").results
    pages: list[Page | None] = []
    for name in list_experiments():
        info, runs, kind = _experiment([f"experiment={name}", *overrides])
        if name in selected:
            # What a demonstration left in runs/ stays there.
            page, shown = update_page(info, _folders(runs / name) if info.evidence else [], results / name, kind)
            console.print(shown)
        else:
            page = archived_page(info, results / name, kind)
        pages.append(page)
    pages.append(update_coverage_page(results / "coverage"))
    found = sorted((page for page in pages if page is not None), key=_first_claim)
    if found:
        write_markdown(results / "REPRODUCTION.md", reproduction(found))
        write_atomically(results / "report.html", report_page(found, results).encode())
        console.print(f"Written: {results / 'REPRODUCTION.md'} and {results / 'report.html'}", soft_wrap=True)
    return results


def _experiment(overrides: Sequence[str]) -> tuple[ExperimentInfo, Path, Kind]:
    """The head of an experiment's config, the folder of all runs, and what kind it is."""
    if asks_for_a_study(overrides):
        info, study = load_study(overrides)
        return info, study.paths.runs, STUDY
    grid = load_experiment(overrides)
    return grid.info, grid.paths.runs, GRID


def _first_claim(page: Page) -> tuple[float, bool, str]:
    """Sorts experiments by the claims that they test; those that test none come last, demonstrations after the evidence."""
    first = min((int(claim.id[1:]) for claim in page.info.claims), default=math.inf)
    return first, not page.info.evidence, page.info.name


def _folders(runs: Path) -> list[Path]:
    return sorted(path for path in runs.glob("*") if path.is_dir())
