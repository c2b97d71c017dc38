"""Sweeps whose runs are trained by two processes each."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from idinit.errors import UsageError
from idinit_suite.config import RunConfig, check, compose
from idinit_suite.errors import LostProcess, Preempted, RunLocked
from idinit_suite.experiments import together
from idinit_suite.experiments.grid import load_experiment
from idinit_suite.experiments.launcher import launch
from idinit_suite.experiments.nodes import Nodes
from idinit_suite.experiments.together import train_together
from idinit_suite.training import checkpoint
from idinit_suite.training.run_folder import RunFolder, read_metrics

SMALL = [
    "model=resnet",
    "model.depth=8",
    "data.batch_size=16",
    "data.train_limit=32",
    "train.precision=float32",
    "train.epochs=60",
    "train.evaluate_every=10",
    "impl.checkpoint_every=10",
    "impl.check_every=2",
    "impl.threads=1",
    "wandb.mode=disabled",
    "launcher=serial",
    "launcher.processes=2",
]
FOLLOWER = """
import sys
from idinit_suite.experiments.nodes import Nodes
from idinit_suite.experiments.together import follow

nodes = Nodes(2, 1, "localhost", int(sys.argv[1]))
follow(nodes)
nodes.leave()
"""
needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the processes in /proc")


def words(folder: Path, *more: str) -> list[str]:
    places = [f"paths.{place}={folder}/{place}" for place in ("data", "runs", "results")]
    return ["experiment=demo", "budget=smoke", "init=idinit", "seed=0", *SMALL, *places, *more]


def ranks(of: int | None = None) -> dict[str, int]:
    """Process ids of the processes that train a run for a process, this one by default, by rank."""
    found, of = {}, of or os.getpid()
    for pid in Path(f"/proc/{of}/task/{of}/children").read_text().split():
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        found |= {entry[5:].decode(): int(pid) for entry in variables if entry.startswith(b"RANK=")}
    return found


@contextmanager
def disturbed(run: RunConfig, after: int, what: Callable[[], None]) -> Iterator[None]:
    """Does something while the block trains a run, when this has a checkpoint of more than ``after`` steps."""

    def wait_and_disturb() -> None:
        deadline = time.monotonic() + 300
        while max((int(path.name[5:14]) for path in run.folder.glob("checkpoints/*.pt")), default=0) <= after:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        what()

    waiting = threading.Thread(target=wait_and_disturb)
    waiting.start()
    yield
    waiting.join()


def bits(run: RunConfig) -> tuple[dict[str, list[float]], list[dict[str, object]]]:
    state = checkpoint.load_latest(run.folder / "checkpoints")
    assert state is not None
    rows = [{**row, "samples_per_s": None} for row in read_metrics(run.folder / "metrics.jsonl")]
    return {name: tensor.flatten().tolist() for name, tensor in state["model"].items()}, rows


@needs_proc
def test_killed_and_stopped_it_ends_in_the_bits_of_a_run_left_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (run,) = load_experiment(words(tmp_path / "disturbed")).main_runs({})
    folder = RunFolder(run.folder)
    with disturbed(run, 0, lambda: os.kill(ranks()["1"], signal.SIGKILL)):
        (failure,) = launch(words(tmp_path / "disturbed"))
    status = folder.status() or {}
    assert status["state"] == "failed" and f"process 1 of run {run.name} has ended (SIGKILL)" in failure
    assert all("run the same command again to go on from the last checkpoint" in text for text in (failure, status["error"]))
    assert not ranks()

    with (
        disturbed(run, status["step"], lambda: os.kill(os.getpid(), signal.SIGTERM)),
        pytest.raises(Preempted, match="is saved"),
    ):
        launch(words(tmp_path / "disturbed"))
    stopped = folder.status() or {}
    assert stopped["state"] == "preempted" and 0 < stopped["step"] < stopped["steps"]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL and not ranks()

    assert launch(words(tmp_path / "disturbed")) == []
    assert capfd.readouterr().err == ""
    assert len(pd.read_csv(tmp_path / "disturbed" / "results" / "demo" / "runs.csv")) == 1
    (alone,) = load_experiment(words(tmp_path / "alone")).main_runs({})
    train_together(alone, 2)
    assert bits(run) == bits(alone)
    assert json.loads((run.folder / "env.json").read_text())["processes"] == 2


@needs_proc
def test_what_a_killed_node_leaves_is_gone_on_with_by_the_nodes_that_are_there(tmp_path: Path) -> None:
    (run,) = load_experiment(words(tmp_path, "train.epochs=20")).main_runs({})
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    nodes = Nodes(2, 0, "localhost", port)
    other = subprocess.Popen([sys.executable, "-c", FOLLOWER, str(port)], stdout=subprocess.PIPE, text=True)
    with (
        disturbed(run, 0, lambda: os.kill(ranks(other.pid)["1"], signal.SIGKILL)),
        pytest.raises(LostProcess, match=f"^another process of run {run.name} has ended, see its output"),
    ):
        train_together(run, 2, nodes)
    status = RunFolder(run.folder).status() or {}
    assert 0 < status["step"] < status["steps"]
    train_together(run, 2, nodes)
    assert (RunFolder(run.folder).status() or {})["state"] == "done"
    nodes.leave()
    said = other.communicate(timeout=60)[0]
    assert other.returncode == 0 and f"process 1 of run {run.name} has ended (SIGKILL)" in said


def test_what_all_processes_refuse_is_told_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (run,) = load_experiment(words(tmp_path, "init=t_fixup")).main_runs({})
    with pytest.raises(UsageError, match="^initializer 't_fixup'"):
        train_together(run, 2)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "end", ["", "import atexit, os, time; os.environ['RANK'] == '0' and atexit.register(time.sleep, 2); "], ids=["", "slowly"]
)
def test_a_run_that_another_process_trains_is_left_to_it(
    end: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the process that refuses is slow to end, and the other, whose exchange fails, could end before it."""
    monkeypatch.setattr(together, "_PROCESS", end + together._PROCESS)
    (run,) = load_experiment(words(tmp_path)).main_runs({})
    with RunFolder(run.folder), pytest.raises(RunLocked, match=f"run {run.name} is being trained by another process"):
        train_together(run, 2)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["launcher=local", "launcher.processes=2"], "processes=1 with launcher=local"),
        (["launcher.processes=0"], "'launcher.processes=0': input should be greater than or equal to 1"),
    ],
)
def test_a_number_of_processes_that_makes_no_sense_gets_one_line(more: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        launch([word for word in words(tmp_path, *more) if word not in SMALL[-2:] or word in more])
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_the_number_of_processes_names_a_run_where_it_changes_the_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    local = ["model.norm=batch", "train.sync_batchnorm=false", "data=digits"]
    said = check(compose([*local, "launcher.processes=2"]))
    assert (said.processes, check(compose([*local])).processes) == (2, 1)
    assert check(compose(["data=digits", "launcher.processes=2"])).processes == 1
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert said.hash == check(compose(local)).hash
    assert RunConfig.model_validate_json(said.model_dump_json()).hash == said.hash
