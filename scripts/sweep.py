"""An experiment: ``python scripts/sweep.py experiment=cifar10-resnet56 [init=a,b] [seed=0,1] [budget=cpu] [overrides]``.

Runs what is missing, then prints the table and writes results/. ``force=true`` runs again what is finished;
``launcher=local launcher.jobs=4`` trains four at once, ``launcher=serial launcher.processes=2`` one after another on two GPUs
each, ``launcher=slurm`` on a cluster.
"""

import sys

from idinit_suite.cli import run_command
from idinit_suite.experiments.launcher import launch
from idinit_suite.studies.config import asks_for_a_study, load_study
from idinit_suite.studies.runner import run_study


def main() -> None:
    arguments = [argument for argument in sys.argv[1:] if argument != "force=true"]
    force = "force=true" in sys.argv[1:]
    if asks_for_a_study(arguments):
        run_study(*load_study(arguments), force=force)
        return
    failures = launch(arguments, force=force)
    if failures:
        sys.exit("\n".join(["these runs are not finished:", *failures]))


if __name__ == "__main__":
    run_command(main)
