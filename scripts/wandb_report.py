"""Builds a Weights & Biases report of one experiment: ``python scripts/wandb_report.py experiment=NAME``."""

import sys

from idinit_suite.cli import run_command
from idinit_suite.report.wandb_report import build_report


def main() -> None:
    print(build_report(sys.argv[1:]))


if __name__ == "__main__":
    run_command(main)
