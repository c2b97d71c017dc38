"""A run on pictures from files, killed in the middle of an epoch, ends in the same bits for any number of workers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outcomes import assert_same, outcome
from PIL import Image

from idinit_suite.config import RunConfig, check, compose
from idinit_suite.training.run_folder import RunFolder
from idinit_suite.training.trainer import train

TRAIN = Path(__file__).parents[3] / "scripts" / "train.py"
DATA = {
    "imagenet": ("data.randaugment=5", "data.erasing=0.3", "data.mixup=0.4", "data.cutmix=1"),
    "image_folder": ("data.crop=2", "data.cutout=4", "data.mixup=0.4"),
}
WORDS = [
    *("data.size=16", "data.validation=6", "data.test=6", "data.batch_size=8", "model=python", "model.target=of_mine:Net"),
    *(
        "train.precision=float32",
        "train.epochs=2",
        "train.log_every=3",
        "impl.checkpoint_every=4",
        "impl.threads=1",
        "wandb.mode=disabled",
    ),
]
NET = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(196, num_classes))
"""
KILL = """
import os, signal, runpy
from idinit_suite.data.own import image_folder
from idinit_suite.training import trainer
update = trainer.Training.update

def kill(training):
    if training.step == 7:  # of 6 an epoch; the last checkpoint is of step 4
        os.kill(os.getpid(), signal.SIGKILL)
    return update(training)

trainer.Training.update = kill
image_folder.MEMORY = 0
runpy.run_path({script!r}, run_name="__main__")
"""


@pytest.fixture(autouse=True)
def _pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for number in range(20):
            pixels = random.integers(0, 255, (24, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "train" / name / f"{number}.jpg")
    (tmp_path / "of_mine.py").write_text(NET)
    sys.modules.pop("of_mine", None)
    monkeypatch.chdir(tmp_path)


def words(data: str, runs: str, workers: int) -> list[str]:
    of_data = (f"data={data}", "data.folder=.", *DATA[data])
    return [*of_data, *WORDS, "paths.data=.", f"paths.runs={runs}", f"impl.workers={workers}"]


def config(*args: Any) -> RunConfig:
    return check(compose(words(*args)))


@pytest.mark.parametrize(("data", "workers"), [("imagenet", 0), ("imagenet", 2), ("imagenet", 3), ("image_folder", 2)])
def test_killed_in_the_middle_of_an_epoch_it_ends_in_the_same_bits(
    data: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("idinit_suite.data.own.image_folder.MEMORY", 0)
    run, whole = config(data, "killed", workers), config(data, "whole", 0)
    assert run.hash == whole.hash
    command = [sys.executable, "-c", KILL.format(script=str(TRAIN)), *words(data, "killed", workers)]
    killed = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert killed.returncode == -9, killed.stderr
    assert (RunFolder(run.folder).status() or {})["step"] == 4
    assert train(run)["state"] == train(whole)["state"] == "done"
    for one, two in zip(outcome(run), outcome(whole), strict=True):
        assert_same(one, two)
