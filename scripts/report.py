"""Makes results/ and the tables in README.md again from the run folders and the archive: ``python scripts/report.py``."""

import sys
from pathlib import Path

from idinit.command import run_command
from idinit.experiments.grid import list_experiments, load
from idinit.report.readme import update_page
from idinit.report.results import update_results
from idinit.report.studies.results import update_results as update_study
from idinit.studies.config import load as load_study
from idinit.training.progress import console

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    for name in list_experiments():
        experiment = load([f"experiment={name}", *sys.argv[1:]])
        folders = sorted(p for p in (experiment.paths.runs / name).glob("*") if p.is_dir())
        console.print(update_results(experiment.info, folders, experiment.paths.results / name))
    for name in list_experiments("study"):
        info, config = load_study([f"experiment={name}", *sys.argv[1:]])
        folders = sorted(p for p in config.folder.parent.glob("*") if p.is_dir())
        console.print(update_study(info, folders, config.paths.results / name))
    if experiment.paths.results.resolve() == ROOT / "results":
        update_page(ROOT / "README.md", ROOT / "results")


if __name__ == "__main__":
    run_command(main)
