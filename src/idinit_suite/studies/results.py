"""A study's runs in, its results out: the one call that brings ``results/<experiment>/`` of a study up to date."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from idinit.errors import UsageError

from ..archive.studies import load, merge
from ..atomic import write_atomically
from ..config.experiment import ExperimentInfo
from ..report.experiment_page import against_paper
from ..report.figures import save_figure
from .page import page, sections


def update_results(info: ExperimentInfo, run_dirs: Iterable[Path], results_dir: Path) -> RenderableType:
    """Merges run folders into a study's archive and makes its figures and its page again.

    Args:
        info: The head of the experiment's config.
        run_dirs: Run folders of the experiment, in any state; only finished ones are taken.
        results_dir: ``results/<experiment>``.

    Returns:
        The verdicts to print: of the given runs, or of all where none was given.

    Raises:
        UsageError: If a run folder or the archive is damaged, or the archive is that of another experiment.
        OSError: If ``results_dir`` cannot be written; a file in it is either as it was or complete.
    """
    if results_dir.name != info.name:
        raise UsageError(f"results of '{info.name}' cannot go to {results_dir}, the folder of another experiment")
    merged = merge(run_dirs, results_dir)
    archive = load(results_dir)
    if archive.runs.empty:
        return Text(f"{info.name}: no finished runs yet")
    found = sections(info, archive)
    for section in found:
        for picture in section.findings.pictures:
            save_figure(picture.draw, results_dir / f"{picture.name}{section.suffix}")
    write_atomically(results_dir / "README.md", page(info, archive, found).encode())
    shown = [
        Text.assemble((f"{claim.id}: {verdict.outcome}. ", "bold"), against_paper(claim, verdict))
        for section in found
        if not merged or section.hash in merged
        for claim, verdict in zip(info.claims, section.verdicts, strict=True)
    ]
    return Group(*shown, Text(f"Written: {results_dir}"))
