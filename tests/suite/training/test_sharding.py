"""A run whose weights are shared out over two processes, against one in which each has them all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from outcomes import assert_same, outcome

from idinit.errors import UsageError
from idinit_suite.config import RunConfig, check, compose
from idinit_suite.training.sharding import require_shardable
from idinit_suite.training.trainer import train

# 17 images to evaluate make two batches for one process and one for the other. ReZero's numbers are of one element.
WORDS = [
    "model=vit", "model.width=16", "model.heads=2", "model.depth=2", "model.patch=8", "init=rezero", "data=digits",
    "data.train_limit=64", "data.batch_size=16", "data.validation=17", "train.epochs=3", "optim=adamw",
    "train.precision=float32", "train.clip_norm=1", "train.accumulate=2", "train.log_every=3", "impl.checkpoint_every=4",
    "impl.checkpoint_activations=true", "impl.threads=1", "wandb.mode=disabled",
]  # fmt: skip
TWO = """
import shutil, sys
from idinit_suite.config import check, compose
from idinit_suite.training import trainer
from idinit_suite.training.distributed import join_team

words, folder = sys.argv[2:], sys.argv[1]
update = trainer.Training.update

class Broken(BaseException):
    pass

def broken(training):
    weights = [weight for group in training.learner.optimizer.param_groups for weight in group["params"]]
    assert sum(weight.to_local().numel() for weight in weights) < 0.6 * sum(weight.numel() for weight in weights)
    if training.step == 6:
        raise Broken
    update(training)

def run(name, *more):
    return check(compose([*words, f"paths.runs={folder}/{name}", *more]))

with join_team(run("whole").impl.torch_device()) as team:
    trainer.train(run("copied"))
    trainer.train(run("whole", "impl.fsdp=true"))
    trainer.Training.update = broken
    try:
        trainer.train(run("resumed", "impl.fsdp=true"))
    except Broken:
        trainer.Training.update = update
    if team.is_main_process:
        shutil.copytree(f"{folder}/resumed", f"{folder}/resumed by one")
    trainer.train(run("resumed", "impl.fsdp=true"))
"""


def run_of(folder: Path, name: str, *more: str) -> RunConfig:
    return check(compose([*WORDS, f"paths.data={folder}/data", f"paths.runs={folder}/{name}", *more]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that two processes have trained, and one that they have begun."""
    folder = tmp_path_factory.mktemp("sharding")
    (folder / "two.py").write_text(TWO)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(folder / "two.py")]
    words = [str(folder), *WORDS, f"paths.data={folder}/data"]
    done = subprocess.run([*launch, *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


def assert_close(one: RunConfig, two: RunConfig) -> None:
    (state, rows), (other, other_rows) = outcome(one), outcome(two)
    for name, weight in state["model"].items():  # a key's bias has no gradient but rounding, of which Adam makes steps
        assert torch.allclose(weight, other["model"][name], rtol=1e-3, atol=1e-4), name
    assert [(row["step"], row["split"]) for row in rows] == [(row["step"], row["split"]) for row in other_rows]
    assert [row["loss"] for row in rows] == pytest.approx([row["loss"] for row in other_rows], rel=1e-5)


def test_it_trains_as_one_that_is_not_shared_out(folder: Path) -> None:
    assert_close(run_of(folder, "whole"), run_of(folder, "copied"))


def test_it_goes_on_to_the_same_bits(folder: Path) -> None:
    for one, two in zip(outcome(run_of(folder, "resumed")), outcome(run_of(folder, "whole")), strict=True):
        assert_same(one, two)


def test_its_checkpoint_is_that_of_any_number_of_processes(folder: Path) -> None:
    run = run_of(folder, "resumed by one")
    assert outcome(run)[0]["step"] == 4
    assert train(run)["state"] == "done"
    assert_close(run, run_of(folder, "copied"))


def test_what_it_takes_is_imported_by_runs_that_share_out_alone() -> None:
    code = "import sys, idinit_suite.training.trainer; print('torch.distributed.tensor' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.parametrize(
    "words", ["train.ema=0.9", "train.compile=true", "diagnostics.every=1", "optim=sgd", "train.precision=fp16"]
)
def test_what_cannot_be_shared_out_is_told(words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words.partition("=")[0]):
        require_shardable(run_of(tmp_path, "runs", words, "impl.fsdp=true"), torch.nn.Linear(2, 2))


def test_a_weight_without_dimensions_is_named(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 2)
    model.gain = torch.nn.Parameter(torch.ones(()))
    with pytest.raises(UsageError, match="gain"):
        require_shardable(run_of(tmp_path, "runs", "impl.fsdp=true"), model)
