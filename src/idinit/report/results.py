"""Runs in, results out: the one call that brings ``results/<experiment>/`` up to date."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from ..experiments.info import ExperimentInfo
from ..files import write_atomically
from .archive import load, merge
from .arms import arms, scales
from .claims import judge
from .figures import save_curves
from .page import page, tuned
from .tables import NOTES, terminal


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
        UsageError: If a run folder or the archive is damaged, or a claim has no verdict function.
        OSError: If ``results_dir`` cannot be written; a file in it is either as it was or complete.
    """
    merged = merge(run_dirs, results_dir)
    archive = load(results_dir)
    if archive.runs.empty:
        return Text(f"{info.name}: no finished runs yet")
    figures, shown = {}, []
    for index, scale in enumerate(scales(archive)):
        of_scale = arms(archive, scale)
        # the largest scale has the plain name, by which other pages can point to it
        figures[scale] = "curves" if index == 0 else f"curves-{scale.slug}"
        save_curves(f"{info.title}\n{scale}", of_scale, results_dir / figures[scale])
        if not merged or any(merged & set(arm.runs["hash"]) for arm in of_scale):
            shown.append(terminal(f"{info.name}: {scale}", of_scale, tuned(archive, scale)))
            verdicts = [judge(claim.id, scale, of_scale) for claim in info.claims]
            shown += [Text.assemble((f"{v.claim}: {v.outcome}. ", "bold"), v.evidence) for v in verdicts]
    write_atomically(results_dir / "README.md", page(info, archive, figures).encode())
    return Group(*shown, Padding(Text(NOTES, style="dim"), (1, 0, 0, 0)), Text(f"Written: {results_dir}"))
