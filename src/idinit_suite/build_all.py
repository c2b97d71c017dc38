"""``make report``: every archive brought up to date, then REPRODUCTION.md and report.html from all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from idinit.errors import UsageError

from .archive import runs as run_archive
from .archive import studies as study_archive
from .atomic import write_atomically
from .config import PathsConfig, compose, resolve
from .coverage.page import update_page as update_coverage
from .experiments.grid import list_experiments, load, select
from .report.grid_page import grid_page
from .report.html.render import report_page
from .report.page import Page
from .report.reproduction import reproduction
from .report.update import update_page
from .studies.config import load as load_study
from .studies.page import study_page
from .studies.results import update_page as update_study
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
    pages: list[Page | None] = []
    results = PathsConfig(**resolve(compose(overrides))["paths"]).results
    for name in list_experiments():
        experiment = load([f"experiment={name}", *overrides])
        if name in selected:
            # What a demonstration left in runs/ stays there.
            folders = _folders(experiment.paths.runs / name) if experiment.info.evidence else []
            page, shown = update_page(experiment.info, folders, results / name)
            console.print(shown)
        else:
            runs = run_archive.load(results / name)
            page = None if runs.runs.empty else grid_page(experiment.info, runs, results / name)
        pages.append(page)
    for name in list_experiments("study"):
        info, config = load_study([f"experiment={name}", *overrides])
        if name in selected:
            page, shown = update_study(info, _folders(config.paths.runs / name), results / name)
            console.print(shown)
        else:
            study = study_archive.load(results / name)
            page = None if study.runs.empty else study_page(info, study)
        pages.append(page)
    pages.append(update_coverage(results / "coverage"))
    found = sorted((page for page in pages if page is not None), key=_first_claim)
    if found:
        write_atomically(results / "REPRODUCTION.md", reproduction(found).encode())
        write_atomically(results / "report.html", report_page(found, results).encode())
        console.print(f"Written: {results / 'REPRODUCTION.md'} and {results / 'report.html'}", soft_wrap=True)
    return results


def _first_claim(page: Page) -> tuple[float, bool, str]:
    """Sorts experiments by the claims that they test; those that test none come last, demonstrations after the evidence."""
    first = min((int(claim.id[1:]) for claim in page.info.claims), default=math.inf)
    return first, not page.info.evidence, page.info.name


def _folders(runs: Path) -> list[Path]:
    return sorted(path for path in runs.glob("*") if path.is_dir())
