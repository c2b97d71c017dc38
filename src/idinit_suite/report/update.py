"""Runs in, results out: the one call that brings ``results/<experiment>/`` up to date."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from ..archive.forecasts import read as read_forecasts
from ..archive.recipe_grid import maps
from ..archive.runs import load, merge
from ..atomic import write_atomically
from ..config.experiment import ExperimentInfo
from .columns import notes
from .experiment_page import Section, against_paper, page, sections
from .figures import save_curves
from .heat_maps import save_maps
from .tables import terminal


def update_results(info: ExperimentInfo, run_dirs: Iterable[Path], results_dir: Path) -> RenderableType:
    """Merges run folders into an experiment's archive and makes its figures and its page again.

    Without run folders, or where nothing in them is new, every file keeps its bytes.

    Args:
        info: The head of the experiment's config.
        run_dirs: Run folders of the experiment, in any state; only finished and diverged runs are taken.
        results_dir: ``results/<experiment>``.

    Returns:
        The tables and verdicts to print: of the scales of the given runs, or of all scales where none was given.

    Raises:
        UsageError: If a run folder or the archive is damaged or of another experiment, or a claim has no verdict function.
        OSError: If ``results_dir`` cannot be written; a file in it is either as it was or complete.
    """
    merged = merge(run_dirs, results_dir, info.name)
    archive = load(results_dir)
    if archive.runs.empty:
        return Text(f"{info.name}: no finished runs yet")
    found = sections(info, archive)
    for section in found:
        save_curves(f"{info.title}\n{section.scale}", section.arms, results_dir / section.figure)
        if found_maps := maps(section.arms):
            save_maps(f"{info.title}\n{section.scale}", found_maps, results_dir / section.map_figure)
    write_atomically(results_dir / "README.md", page(info, archive, found, read_forecasts(results_dir)).encode())
    shown = [part for section in found if not merged or _has(section, merged) for part in _printed(info, section)]
    return Group(*shown, Text(f"\n{notes(found[0].arms if found else ())}\n", style="dim"), Text(f"Written: {results_dir}"))


def _has(section: Section, runs: set[str]) -> bool:
    return any(runs & set(arm.runs["hash"]) for arm in section.arms)


def _printed(info: ExperimentInfo, section: Section) -> list[RenderableType]:
    verdicts = [
        Text.assemble((f"{claim.id}: {verdict.outcome}. ", "bold"), against_paper(claim, verdict))
        for claim, verdict in zip(info.claims, section.verdicts, strict=True)
    ]
    rows = [arm for arm in section.arms if arm.primary] if maps(section.arms) else section.arms
    return [terminal(f"{info.name}: {section.scale}", rows, bool(section.tuning)), *verdicts]
