"""Makes results/ and the tables in README.md again from the run folders and the archive: ``python scripts/report.py``."""

import sys
from pathlib import Path

from idinit_suite.build_all import update_everything
from idinit_suite.cli import run_command
from idinit_suite.report.readme import update_readme

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    results = update_everything(sys.argv[1:])
    if results.resolve() == ROOT / "results":
        update_readme(ROOT / "README.md", ROOT / "results")


if __name__ == "__main__":
    run_command(main)
