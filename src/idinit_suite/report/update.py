"""Runs in, results out: the one call that brings ``results/<experiment>/`` up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from ..archive.runs import TRAININGS
from ..archive.store import Archive, Store
from ..config.experiment import ExperimentInfo
from .blocks import pictures
from .grid_page import grid_page
from .page import Page, shown, write_page


@dataclass(frozen=True)
class Kind:
    """A kind of experiment: a grid of trainings, or a study.

    Attributes:
        store: Its archives.
        page: Makes its page from the head of its config, its archive and the archive's folder.
    """

    store: Store
    page: Callable[[ExperimentInfo, Archive, Path], Page]


GRID = Kind(TRAININGS, grid_page)


def archived_page(info: ExperimentInfo, results_dir: Path, kind: Kind = GRID) -> Page | None:
    """The page of an experiment from its archive as it is; None where there are no runs yet.

    Raises:
        UsageError: If the archive is damaged, or a claim has no verdict function.
    """
    archive = kind.store.load(results_dir)
    return None if archive.runs.empty else kind.page(info, archive, results_dir)


def update_page(
    info: ExperimentInfo, run_dirs: Iterable[Path], results_dir: Path, kind: Kind = GRID
) -> tuple[Page | None, RenderableType]:
    """Merges run folders into an experiment's archive and makes its figures and its page again.

    Without run folders, or where nothing in them is new, every file keeps its bytes.

    Args:
        info: The head of the experiment's config.
        run_dirs: Run folders of the experiment, in any state; only finished and diverged runs are taken.
        results_dir: ``results/<experiment>``.
        kind: What kind of experiment it is.

    Returns:
        The page, None where there are no runs yet; and the tables, curves and verdicts to print: of the scales of the given
        runs, or of all scales where none was given.

    Raises:
        UsageError: If a run folder or the archive is damaged or of another experiment, or a claim has no verdict function.
        OSError: If ``results_dir`` cannot be written; a file in it is either as it was or complete.
    """
    merged = kind.store.merge(run_dirs, results_dir, info.name)
    page = archived_page(info, results_dir, kind)
    if page is None:
        return None, Text(f"{info.name}: no finished runs yet")
    write_page(page, results_dir)
    return page, Group(shown(page, merged), *_ending(page, merged, results_dir))


def update_results(info: ExperimentInfo, run_dirs: Iterable[Path], results_dir: Path, kind: Kind = GRID) -> RenderableType:
    """Does what `update_page` does, and returns only what to print."""
    return update_page(info, run_dirs, results_dir, kind)[1]


def _ending(page: Page, runs: set[str], results_dir: Path) -> list[RenderableType]:
    """The location of the results, and what the experiment suggests to try next."""
    pictured = [picture for section in page.sections if section.shown(runs) for picture in pictures(section.blocks)]
    lines = [f"Results: {results_dir}", *(f"Figure:  {results_dir / picture.name}.png" for picture in pictured)]
    if page.info.next:
        lines += ["", "What to try next:", *(f"  {line}" for line in page.info.next)]
    return [Text("\n".join(lines))]
