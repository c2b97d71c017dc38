"""A study's runs in, its results out: the one call that brings ``results/<experiment>/`` of a study up to date."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from idinit.errors import UsageError

from ..archive.studies import load, merge
from ..config.experiment import ExperimentInfo
from ..report.page import Page, shown, write_page
from .page import study_page


def update_page(info: ExperimentInfo, run_dirs: Iterable[Path], results_dir: Path) -> tuple[Page | None, RenderableType]:
    """Merges run folders into a study's archive and makes its figures and its page again.

    Args:
        info: The head of the experiment's config.
        run_dirs: Run folders of the experiment, in any state; only finished ones are taken.
        results_dir: ``results/<experiment>``.

    Returns:
        The page, None where there are no runs yet; and the verdicts to print: of the given runs, or of all where none was
        given.

    Raises:
        UsageError: If a run folder or the archive is damaged, or the archive is that of another experiment.
        OSError: If ``results_dir`` cannot be written; a file in it is either as it was or complete.
    """
    if results_dir.name != info.name:
        raise UsageError(f"results of '{info.name}' cannot go to {results_dir}, the folder of another experiment")
    merged = merge(run_dirs, results_dir)
    archive = load(results_dir)
    if archive.runs.empty:
        return None, Text(f"{info.name}: no finished runs yet")
    page = study_page(info, archive)
    write_page(page, results_dir)
    return page, Group(shown(page, merged), Text(f"Written: {results_dir}"))


def update_results(info: ExperimentInfo, run_dirs: Iterable[Path], results_dir: Path) -> RenderableType:
    """Does what `update_page` does, and returns only what to print."""
    return update_page(info, run_dirs, results_dir)[1]
