"""What each experiment costs on this machine, what is done and what is missing: ``python scripts/plan.py [budget=cpu]``."""

import sys

from idinit_suite.cli import run_command
from idinit_suite.commands.plan import plan


def main() -> None:
    plan(sys.argv[1:])


if __name__ == "__main__":
    run_command(main)
