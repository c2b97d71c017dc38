"""Throughput of the training loop: ``python scripts/bench.py [Hydra overrides]``, by default of three models, compiled.

These are BERT-Mini on the corpus, ViT-Ti on CIFAR-10 and ResNet-56 on digits, and go to ``results/bench``; overrides with
``model=`` or ``experiment=`` choose another one, which is printed only. Then the time to initialize large networks, or only
that with ``initialization``.
"""

import sys
from pathlib import Path

from idinit_suite.benchmarks import bench, show, write_initialization, write_page
from idinit_suite.cli import run_command
from idinit_suite.config import check, compose

MODELS = (
    ["experiment=bert-mini", "budget=paper"],
    ["experiment=cifar10-vit", "budget=paper"],
    ["model=resnet56", "data=digits", "data.batch_size=128"],
)


def main() -> None:
    if "initialization" in sys.argv[1:]:
        overrides = [word for word in sys.argv[1:] if word != "initialization"]
        write_initialization(Path(compose(overrides).paths.results) / "bench")
        return
    chosen = any(word.startswith(("model=", "experiment=")) for word in sys.argv[1:])
    contests = []
    for model in ([],) if chosen else MODELS:
        config = check(compose([*model, "train.compile=true", *sys.argv[1:]]))
        contests.append(bench(config))
        show(contests[-1])
        if not chosen:
            write_page(contests, config.paths.results / "bench")
    if not chosen:
        write_initialization(config.paths.results / "bench")


if __name__ == "__main__":
    run_command(main)
