"""An experiment: ``python scripts/sweep.py experiment=cifar10-resnet56 [init=a,b] [seed=0,1] [budget=cpu] [overrides]``.

Runs what is missing, then prints the table and writes results/. ``force=true`` runs again what is finished.
"""

import sys

from idinit.command import run_command
from idinit.experiments.grid import load
from idinit.experiments.runner import run


def main() -> None:
    arguments = [argument for argument in sys.argv[1:] if argument != "force=true"]
    failures = run(load(arguments), force="force=true" in sys.argv[1:])
    if failures:
        sys.exit("\n".join(["these runs are not finished:", *failures]))


if __name__ == "__main__":
    run_command(main)
