"""A disk that takes no more: one clear line, exit code 1, nothing written before is damaged, and the run goes on later.

A limit on the size of files stands in for a full disk. Permissions make a folder read-only; root, whom they do not bind,
first gives up the right to ignore them.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from digits_runs import RESNET8

from idinit_suite.config import RunConfig, check, compose
from idinit_suite.data.images.batches import ImageBatches
from idinit_suite.training import checkpoint
from idinit_suite.training.run_folder import read_metrics
from idinit_suite.training.trainer import train

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits files and gives up rights as Linux does")

SCRIPT = Path(__file__).parents[3] / "scripts" / "train.py"
SMALL = [*RESNET8, "data.train_limit=64", "train.epochs=2", "train.log_every=1", "impl.checkpoint_every=4"]

# Starts a command that permissions bind, and for which no file can grow past a size (0: any size).
CONFINED = """
import ctypes, os, resource, sys
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1
ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE)  # fails where there is no need: for all but root
if size := int(sys.argv[1]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root that all runs here share, so that the digits are decoded once."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, data: Path) -> RunConfig:
    run = check(compose(overrides(tmp_path_factory.mktemp("undisturbed"), data)))
    train(run)
    return run


@pytest.fixture
def started(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    """A run that broke off after step 5 of 8; its last checkpoint is of step 4."""
    run = check(compose(overrides(tmp_path, data)))
    batch = ImageBatches.train_batch

    def break_off(self: ImageBatches, step: int) -> object:
        if step == 5:
            raise KeyboardInterrupt
        return batch(self, step)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ImageBatches, "train_batch", break_off)
        train(run)
    return run


def overrides(folder: Path, data: Path) -> list[str]:
    return [*SMALL, f"paths.runs={folder}/runs", f"paths.data={data}"]


def start_confined(size: int, words: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", CONFINED, str(size), str(SCRIPT), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_ends_with_one_clear_line(done: subprocess.CompletedProcess[str], problem: str) -> None:
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("idinit: cannot read or write") and problem in done.stderr
    assert "what was saved before is intact" in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def assert_goes_on_to_the_same_end(run: RunConfig, undisturbed: RunConfig) -> None:
    assert train(run)["state"] == "done"
    one, two = (checkpoint.load_latest(each.folder / "checkpoints") for each in (run, undisturbed))
    assert one is not None and two is not None and one["step"] == two["step"] == 8
    assert all(torch.equal(weight, two["model"][name]) for name, weight in one["model"].items())
    rows = [read_metrics(each.folder / "metrics.jsonl") for each in (run, undisturbed)]
    unclocked = [[{**row, "samples_per_s": None} for row in each] for each in rows]
    assert unclocked[0] == unclocked[1]


@pytest.mark.parametrize("full_at", ["metrics", "checkpoint"])
def test_a_full_disk(started: RunConfig, undisturbed: RunConfig, full_at: str) -> None:
    before = files(started.folder)
    saved = {name: content for name, content in before.items() if name.startswith("checkpoints/")}
    assert len(saved) == 1
    # The row of step 5 is made again and fits, the one of step 6 does not; or all rows fit, and no checkpoint does.
    size = len(before["metrics.jsonl"]) + 50 if full_at == "metrics" else 100_000
    failed = start_confined(size, overrides(started.paths.runs.parent, started.paths.data))

    assert_ends_with_one_clear_line(failed, "the file is larger than allowed")
    after = files(started.folder)
    assert after.keys() == before.keys(), "something half written was left"
    assert saved.items() <= after.items()
    assert after["config.yaml"] == before["config.yaml"]
    assert json.loads(after["status.json"])["state"] == "running"
    whole = read_metrics(started.folder / "metrics.jsonl")
    assert [row["step"] for row in whole if row["split"] == "train"] == list(range(1, 6 if full_at == "metrics" else 9))
    assert_goes_on_to_the_same_end(started, undisturbed)


def test_a_read_only_run_folder(started: RunConfig, undisturbed: RunConfig) -> None:
    before = files(started.folder)
    folders = [started.folder, started.folder / "checkpoints"]
    for folder in folders:
        folder.chmod(0o555)
    try:
        failed = start_confined(0, overrides(started.paths.runs.parent, started.paths.data))
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert_ends_with_one_clear_line(failed, "Permission denied")
    assert files(started.folder) == before
    assert_goes_on_to_the_same_end(started, undisturbed)


def test_the_same_command_runs_once_there_is_a_place_to_write(tmp_path: Path, data: Path, undisturbed: RunConfig) -> None:
    words = overrides(tmp_path, data)
    (tmp_path / "runs").write_text("a file, not a folder")
    failed = start_confined(0, words)
    assert failed.returncode == 2, failed.stderr
    assert failed.stderr.startswith("idinit: ") and failed.stderr.count("\n") == 1
    assert "paths.runs=" in failed.stderr and "is a file" in failed.stderr
    assert (tmp_path / "runs").read_text() == "a file, not a folder"

    (tmp_path / "runs").unlink()
    done = start_confined(0, words)
    assert done.returncode == 0, done.stderr
    made, expected = (
        files(runs / undisturbed.name / "checkpoints") for runs in (tmp_path / "runs/adhoc", undisturbed.folder.parent)
    )
    assert made == expected
