"""Mirrors all run folders to Weights & Biases: ``python scripts/mirror.py [wandb.mode=offline] [paths.runs=...]``."""

import sys

from idinit_suite.cli import run_command
from idinit_suite.report.wandb_report import mirror_all


def main() -> None:
    failed = mirror_all(sys.argv[1:])
    if failed:
        sys.exit("\n".join(["these runs are not mirrored:", *failed]))


if __name__ == "__main__":
    run_command(main)
