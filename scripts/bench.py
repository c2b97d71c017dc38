"""Throughput of the training loop: ``python scripts/bench.py [Hydra overrides]``, by default of three models, compiled.

These are BERT-Mini on the corpus, ViT-Ti on CIFAR-10 and ResNet-56 on digits, and go to ``results/bench``; overrides with
``model=`` or ``experiment=`` choose another one, which is printed only. Then the loading of pictures where the data root has
``imagenet-sample``, and the time to initialize large networks; or only one of them with ``loading`` or ``initialization``. What
``training`` adds, without normalization, and ``anyinit``, the networks of the coverage beside that library, take longer and are
made only when asked for.
"""

import sys
from pathlib import Path

from idinit.errors import UsageError, did_you_mean
from idinit_suite.benchmarks import bench, has_pictures, write_initialization, write_loading, write_page, write_training
from idinit_suite.cli import run_command
from idinit_suite.config import check, compose
from idinit_suite.coverage.side_by_side import write_side_by_side
from idinit_suite.report.table import terminal_table
from idinit_suite.training.progress import console

PAGES = ("anyinit", "initialization", "loading", "training")
MODELS = (
    ["experiment=bert-mini", "budget=paper"],
    ["experiment=cifar10-vit", "budget=paper"],
    ["model=resnet56", "data=digits", "data.batch_size=128"],
)


def main() -> None:
    overrides = [word for word in sys.argv[1:] if word not in PAGES]
    for word in overrides:
        if "=" not in word:
            raise UsageError(f"unknown benchmark '{word}': {did_you_mean(word, PAGES)}")
    paths = compose(overrides).paths
    if "anyinit" in sys.argv[1:]:
        write_side_by_side(Path(paths.results) / "bench")
    if "initialization" in sys.argv[1:]:
        write_initialization(Path(paths.results) / "bench")
    if "loading" in sys.argv[1:]:
        write_loading(Path(paths.data), Path(paths.results) / "bench")
    if "training" in sys.argv[1:]:
        write_training(Path(paths.results) / "bench")
    if len(overrides) < len(sys.argv[1:]):
        return
    chosen = any(word.startswith(("model=", "experiment=")) for word in sys.argv[1:])
    contests = []
    for model in ([],) if chosen else MODELS:
        config = check(compose([*model, "train.compile=true", *sys.argv[1:]]))
        contests.append(bench(config))
        console.print(terminal_table(contests[-1].table()))
        if not chosen:
            write_page(contests, config.paths.results / "bench")
    if not chosen:
        if has_pictures(config.paths.data):
            write_loading(config.paths.data, config.paths.results / "bench")
        write_initialization(config.paths.results / "bench")


if __name__ == "__main__":
    run_command(main)
