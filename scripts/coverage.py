"""Checks networks of timm, torchvision and transformers: ``python scripts/coverage.py [--force] [PATTERN ...]``."""

import argparse
from pathlib import Path

from idinit_suite.cli import run_command
from idinit_suite.coverage.page import update_coverage_page
from idinit_suite.coverage.runner import run
from idinit_suite.training.progress import console

RESULTS = Path(__file__).resolve().parents[1] / "results" / "coverage"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patterns", nargs="*", metavar="PATTERN", help="networks to check, e.g. 'timm:*' hf:bert; all if none")
    parser.add_argument("--force", action="store_true", help="check networks again that have been checked")
    given = parser.parse_args()
    run(RESULTS / "coverage.csv", given.patterns, force=given.force)
    update_coverage_page(RESULTS)
    console.print(f"Page: {RESULTS / 'README.md'}", soft_wrap=True)


if __name__ == "__main__":
    run_command(main)
