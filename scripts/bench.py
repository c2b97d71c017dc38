"""Throughput of the training loop: ``python scripts/bench.py [Hydra overrides]``, by default ResNet-56 on digits, compiled."""

import sys

from idinit.command import run_command
from idinit.config import check, compose
from idinit.training.bench import bench, show


def main() -> None:
    config = check(compose(["model=resnet56", "data=digits", "data.batch_size=128", "impl.compile=true", *sys.argv[1:]]))
    show(config, bench(config))


if __name__ == "__main__":
    run_command(main)
