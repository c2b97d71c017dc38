"""Runs of data and models of one's own: they resume to the same bits, answer when they are finished, and refuse other data."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from outcomes import assert_same, outcome
from PIL import Image

from idinit.errors import UsageError
from idinit_suite.archive.runs import load, merge
from idinit_suite.archive.variants import list_variants, scales
from idinit_suite.config import RunConfig, check, compose
from idinit_suite.training import trainer
from idinit_suite.training.run_folder import RunFolder
from idinit_suite.training.trainer import train

SCRIPTS = Path(__file__).parents[3] / "scripts"
COMMON = [
    "train.precision=float32",
    "train.log_every=3",
    "impl.checkpoint_every=4",
    "impl.threads=1",
    "wandb.mode=disabled",
    "data.batch_size=8",
]
SMALL = [f"+model.options.{key}=16" for key in ("hidden_size", "intermediate_size")]
SMALL += ["+model.options.num_hidden_layers=1", "+model.options.num_attention_heads=2"]
FAMILIES = {
    "folder, timm": ["data=image_folder", "data.folder=pictures", "data.size=32", "model=timm", "model.name=resnet10t"],
    "texts, textcnn": ["data=texts", "data.train=train.csv", "data.label=stars", "model=textcnn", "model.maps=4"],
    "hub, hf": ["data=hub", "data.path=tables", "data.text=review", "data.label=stars", "model=hf", "model.name=bert", *SMALL],
    "python": ["data=python", "data.target=of_mine:make", "model=python", "model.target=of_mine:Net"],
}
OF_MINE = """
import torch
from torch import nn

def make():
    x = torch.randn(40, 3, 8, 8)
    return torch.utils.data.TensorDataset(x, (x.mean((1, 2, 3)) > 0).long())

class Net(nn.Sequential):
    def __init__(self, shape, num_classes):
        super().__init__(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], 8), nn.ReLU(), nn.Linear(8, num_classes))
"""


class Broken(BaseException):
    """As if the process had been killed."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with data of every kind."""
    random = np.random.default_rng(0)
    for name, colour in (("cat", 60), ("dog", 180)):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(20):
            pixels = np.clip(colour + random.normal(0, 30, (35, 40, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{number}.jpg")
    words = np.array(["good", "bad", "film", "plot", "very"])
    table = pd.DataFrame({"review": [" ".join(random.choice(words, 5)) for _ in range(40)]})
    table["stars"] = 1 + table["review"].str.count("good").clip(upper=1)
    table.to_csv(tmp_path / "train.csv", index=False)
    (tmp_path / "tables").mkdir()
    table.to_parquet(tmp_path / "tables" / "train.parquet")
    (tmp_path / "of_mine.py").write_text(OF_MINE)
    sys.modules.pop("of_mine", None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hub")
    return tmp_path


def config(family: str, *more: str) -> RunConfig:
    return check(compose([*FAMILIES[family], *COMMON, "train.epochs=3", *more]))


@pytest.mark.parametrize("family", FAMILIES)
def test_broken_off_it_ends_in_the_same_bits(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, broken = config(family, "paths.runs=whole"), config(family, "paths.runs=broken")
    assert train(whole)["state"] == "done"
    update = trainer.Training.update
    for step in (2, 6, 11):

        def break_at(training: trainer.Training, last: int = step) -> tuple[bool, bool]:
            if training.step == last:
                raise Broken
            return update(training)

        with monkeypatch.context() as patch, pytest.raises(Broken):
            patch.setattr(trainer.Training, "update", break_at)
            train(broken)
    assert train(broken)["state"] == "done"
    for one, two in zip(outcome(broken), outcome(whole), strict=True):
        assert_same(one, two)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_has_its_row_in_the_tables(family: str, here: Path) -> None:
    for overrides in ((), ("init=kaiming",)):
        run = config(family, *overrides)
        train(run)
        merge([run.folder], here / "results")
    archive = load(here / "results")
    (scale,) = scales(archive)
    rows = list_variants(archive, scale)
    assert {row.name for row in rows} == {"idinit", "kaiming"}
    assert all(row.chance == 0.5 and not row.is_language_model for row in rows)
    assert {row.model for row in rows} == {{"folder, timm": "resnet10t", "hub, hf": "bert"}.get(family, rows[0].model)}
    assert str(here) not in (here / "results" / "runs.csv").read_text()


def test_a_finished_run_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    run = config("texts, textcnn")
    first = train(run)
    before = (run.folder / "metrics.jsonl").read_bytes()
    capsys.readouterr()
    assert train(run) == first
    said = capsys.readouterr().out
    assert f"{run.name} is done (" in said and "not trained again" in said
    assert (run.folder / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize("state", ["begun", "finished"])
def test_other_data_are_refused(state: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = config("folder, timm")
    if state == "finished":
        train(run)
    else:
        monkeypatch.setattr(trainer.Training, "_finish", lambda *_: {})
        train(run)
        monkeypatch.undo()
        monkeypatch.chdir(here)
    Image.new("RGB", (35, 40)).save(here / "pictures" / "cat" / "3.jpg")
    with pytest.raises(UsageError, match=rf"{run.name}.* pictures .*\(checksum"):
        train(run)


def test_data_that_are_gone_do_not_undo_a_finished_run(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = config("folder, timm")
    first = train(run)
    shutil.rmtree(here / "pictures")
    assert train(run) == first
    assert "cannot be compared" in caplog.text


def test_a_killed_run_goes_on_by_the_same_command(here: Path) -> None:
    words = [*FAMILIES["python"], *COMMON, "train.epochs=3"]
    code = (
        "import os, signal, runpy, sys\n"
        "from idinit_suite.training import trainer\n"
        "update = trainer.Training.update\n"
        "def kill(training):\n"
        "    os.kill(os.getpid(), signal.SIGKILL) if training.step == 7 else None\n"
        "    return update(training)\n"
        "trainer.Training.update = kill\n"
        f"runpy.run_path({str(SCRIPTS / 'train.py')!r}, run_name='__main__')\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=120)
    assert killed.returncode == -9, killed.stderr
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "train.py"), *words], capture_output=True, text=True, timeout=120, check=True
    )
    run, whole = config("python"), config("python", "paths.runs=whole")
    status = RunFolder(run.folder).status()
    assert status is not None and status["state"] == "done", done.stderr
    train(whole)
    for one, two in zip(outcome(run), outcome(whole), strict=True):
        assert_same(one, two)
