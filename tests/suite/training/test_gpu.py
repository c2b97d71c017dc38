"""What holds on a CUDA device: `make test-gpu`."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import torch
from outcomes import assert_same, outcome

from idinit_suite.config import RunConfig, check, compose
from idinit_suite.experiments.together import train_together
from idinit_suite.training.compile_cache import CompiledNetworks
from idinit_suite.training.distributed import Team
from idinit_suite.training.run_folder import RunFolder
from idinit_suite.training.trainer import Training, train

pytestmark = pytest.mark.gpu
IMAGES = {
    "resnet": ["data=digits", "model=resnet", "model.depth=14"],
    "vit": ["data=digits", "model=vit", "model.width=64", "model.heads=4", "model.depth=2", "model.patch=8", "optim=adamw"],
}  # fmt: skip
TEXTS = {
    "textcnn": ["data=opinions", "model=textcnn"],
    "text_transformer": ["data=opinions", "model=text_transformer", "model.dropout=0", "optim=adamw"],
}
NETWORKS = IMAGES | TEXTS
COMMON = [
    "data.batch_size=64",
    "train.epochs=1",
    "impl.device=cuda",
    "impl.checkpoint_every=7",
    "wandb.mode=disabled",
]


def config(network: str, folder: Path, *overrides: str) -> RunConfig:
    places = [f"paths.runs={folder}/runs", f"paths.data={folder}/data"]
    return check(compose([*NETWORKS[network], *COMMON, *places, *overrides]))


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16", "fp16"])
@pytest.mark.parametrize("network", NETWORKS)
def test_it_trains(network: str, precision: str, tmp_path: Path) -> None:
    assert train(config(network, tmp_path, f"train.precision={precision}"))["state"] == "done"


@pytest.mark.parametrize("network", NETWORKS)
def test_a_step_waits_for_nothing(network: str, tmp_path: Path) -> None:
    run = config(network, tmp_path, "train.clip_norm=1")
    team = Team(0, 1, torch.device("cuda"))
    training = Training(run, team, RunFolder(run.folder), CompiledNetworks(), threading.Event())
    for _ in range(3):
        training.update()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            training.update()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_loss_that_is_not_finite_changes_no_weight(tmp_path: Path) -> None:
    words = ["init=kaiming", "optim=sgd", "optim.lr=1e6", "schedule=constant", "train.epochs=2"]
    steps = [train(config("resnet", tmp_path / every, *words, f"impl.check_every={every}"))["step"] for every in ("1", "16")]
    assert steps[0] == steps[1]


@pytest.mark.parametrize("network", NETWORKS)
def test_in_deterministic_mode_two_runs_are_the_same_bits(network: str, tmp_path: Path) -> None:
    runs = [config(network, tmp_path / name, "impl.deterministic=true") for name in ("one", "two")]
    for run in runs:
        train(run)
    for one, two in zip(*map(outcome, runs), strict=True):
        assert_same(one, two)


@pytest.mark.parametrize("network", IMAGES)
def test_cuda_graphs_train_the_same_network(network: str, tmp_path: Path) -> None:
    words = ["train.compile=true", "train.precision=float32", "impl.deterministic=true"]
    losses = []
    for graphs in ("true", "false"):
        run = config(network, tmp_path / graphs, *words, f"impl.cuda_graphs={graphs}")
        train(run)
        losses.append([row["loss"] for row in outcome(run)[1]])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def step_back(run: RunConfig) -> None:
    """Makes of a finished run one that was stopped after its last checkpoint but one."""
    max(run.folder.glob("checkpoints/*.pt")).unlink()
    status = run.folder / "status.json"
    status.write_text(json.dumps({**json.loads(status.read_text()), "state": "preempted"}))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize("fsdp", ["false", "true"])
@pytest.mark.parametrize("network", ["vit", "text_transformer"])
def test_two_gpus_train_the_network_of_one_and_go_on_to_the_same_bits(network: str, fsdp: str, tmp_path: Path) -> None:
    """DDP and FSDP over NCCL."""
    exact = ["train.precision=float32", "impl.deterministic=true", f"impl.fsdp={fsdp}"]
    one, two = (config(network, tmp_path / name, *exact) for name in ("one", "two"))
    train(one)
    train_together(two, 2)
    whole = outcome(two)
    assert [row["loss"] for row in whole[1]] == pytest.approx([row["loss"] for row in outcome(one)[1]], rel=1e-3)
    step_back(two)
    train_together(two, 2)
    assert_same(list(outcome(two)), list(whole))
