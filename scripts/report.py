"""Makes results/ again from the run folders and the archive: ``python scripts/report.py [paths.runs=R paths.results=R]``."""

import sys

from idinit.command import run_command
from idinit.experiments.grid import list_experiments, load
from idinit.report.results import update_results
from idinit.training.progress import console


def main() -> None:
    for name in list_experiments():
        experiment = load([f"experiment={name}", *sys.argv[1:]])
        folders = sorted(p for p in (experiment.paths.runs / name).glob("*") if p.is_dir())
        console.print(update_results(experiment.info, folders, experiment.paths.results / name))


if __name__ == "__main__":
    run_command(main)
