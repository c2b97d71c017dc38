"""One run: ``python scripts/train.py experiment=cifar10-resnet56 init=fixup seed=1 optim.lr=0.05``.

The same command again resumes it; ``-m init=idinit,fixup seed=0,1,2`` is Hydra's multirun, in which a point that cannot be
trained stops no other; under torchrun it is the same run on several processes.
"""

import os
import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from idinit.errors import UsageError
from idinit_suite.cli import clear_end, run_command
from idinit_suite.config import check, register_choices
from idinit_suite.errors import not_trained
from idinit_suite.training.finished import what_follows
from idinit_suite.training.progress import console
from idinit_suite.training.trainer import train

refused: dict[str, str] = {}  # overrides of a point of a multirun -> why it was not trained


@hydra.main(version_base="1.3", config_path="../configs", config_name="train")
def main(config: DictConfig) -> None:
    with clear_end():  # Hydra would print a line of its own about whatever passes through it
        try:
            run = check(config)
            train(run)
        except UsageError as error:
            if HydraConfig.get().mode is not RunMode.MULTIRUN:
                raise
            refused[" ".join(HydraConfig.get().overrides.task)] = str(error)
            return
        if int(os.environ.get("RANK", "0")) == 0:
            console.print(what_follows(run, config.experiment, sys.argv[1:]), markup=False, soft_wrap=True)


def all_points() -> None:
    main()
    if refused:
        raise UsageError("; ".join(not_trained(refused)))


if __name__ == "__main__":
    register_choices()
    run_command(all_points)
