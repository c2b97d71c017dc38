"""Sweeps in Slurm: commands in place of its own, and a real one of two nodes where Debian's packages are installed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pytest
from small_sweeps import TINY, places

from idinit.errors import UsageError
from idinit_suite.config import RunConfig
from idinit_suite.experiments.grid import load_experiment
from idinit_suite.experiments.launcher import launch
from idinit_suite.experiments.together import train_together
from idinit_suite.training import checkpoint
from idinit_suite.training.run_folder import read_metrics

ROOT = Path(__file__).parents[3]
SMALL = ["experiment=demo", "budget=smoke", *TINY, "launcher=slurm", "launcher.gpus=0", "launcher.cores=1"]
DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch")


def arguments(folder: Path, *more: str) -> list[str]:
    return [*SMALL, *places(folder), *more]


@pytest.mark.skipif(shutil.which("sbatch") is not None, reason="there is a Slurm here")
def test_without_slurm_the_remedy_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="launcher=slurm: .*choose launcher=local"):
        launch(arguments(tmp_path))


# Commands that take the place of Slurm's: one job at a time, on this machine.
SLURM = {
    "sbatch": "echo Submitted batch job 17; touch $0.runs; (SLURM_JOB_ID=17 bash $1; rm $0.runs) >$0.log 2>&1 &",
    "srun": 'while [ ! -e "$1" ]; do shift; done; exec "$@"',  # without its options
    "squeue": "[ -e $0.asked ] || { touch $0.asked; echo busy >&2; exit 1; }; ls ${0%squeue}sbatch.runs 2>/dev/null || true",
    "scontrol": "",
}


@pytest.fixture
def slurm_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts `SLURM` first in the path."""
    (tmp_path / "bin").mkdir()
    for name, program in SLURM.items():
        command = tmp_path / "bin" / name
        command.write_text(f"#!/bin/bash\n{program}\n")
        command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("idinit_suite.experiments.launcher._POLL_S", 0.2)


def test_jobs_of_slurm_mirror_their_runs(tmp_path: Path, slurm_of_one: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")  # the job has the environment of the command, with its login
    left = launch(arguments(tmp_path, "launcher.jobs=1", "init=idinit", "seed=0", "wandb.mode=auto"))
    assert left == [], (tmp_path / "bin" / "sbatch.log").read_text()
    (run,) = (tmp_path / "runs" / "demo").glob("idinit-*")
    (file,) = run.glob("wandb/offline-run-*/*.wandb")
    assert run.name.rpartition("-")[2] in file.name and file.stat().st_size > 1000


def test_a_variant_that_cannot_be_built_is_listed_and_the_others_run(tmp_path: Path, slurm_of_one: None) -> None:
    with pytest.raises(UsageError, match="t_fixup was not trained: ") as caught:
        launch(arguments(tmp_path, "launcher.jobs=1", "init=t_fixup,idinit", "seed=0", "wandb.mode=disabled"))
    assert "\n" not in str(caught.value)
    assert pd.read_csv(tmp_path / "results" / "demo" / "runs.csv")["arm"].tolist() == ["idinit"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cluster of two nodes, both this machine, for the time of a test; its partition ``urgent`` preempts ``main``."""
    base = tmp_path / "slurm"
    (base / "state").mkdir(parents=True)
    key, munge = base / "munge.key", base / "munge.socket"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    host = socket.gethostname().split(".")[0]
    nodes = [host, f"{host}-2"]
    lines = [f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={free_port()} CPUs=1" for node in nodes]
    (base / "slurm.conf").write_text(
        f"""
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthInfo=socket={munge},cred_expire=10
SlurmctldPort={free_port()}
StateSaveLocation={base}/state
SlurmdSpoolDir={base}/spool.%n
SlurmctldPidFile={base}/slurmctld.pid
SlurmdPidFile={base}/slurmd.%n.pid
SlurmctldLogFile={base}/slurmctld.log
SlurmdLogFile={base}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MailProg=/bin/true
ReturnToService=2
SchedulerParameters=batch_sched_delay=0,sched_interval=2,requeue_delay=1
KillWait=5
{chr(10).join(lines)}
PartitionName=main Nodes=ALL Default=YES PriorityTier=1 GraceTime=8 State=UP
PartitionName=urgent Nodes=ALL PriorityTier=9 PreemptMode=OFF State=UP
"""
    )
    monkeypatch.setenv("SLURM_CONF", str(base / "slurm.conf"))
    commands = (
        ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={munge}", f"--pid-file={base}/munge.pid",
         f"--seed-file={base}/munge.seed", f"--log-file={base}/munge.log"],
        ["slurmctld", "-D"],
        *(["slurmd", "-D", "-N", node] for node in nodes),
    )  # fmt: skip
    with ExitStack() as stack:
        for command in commands:
            daemon = stack.enter_context(
                subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
            )
            stack.callback(daemon.terminate)
            time.sleep(1)
        deadline = time.monotonic() + 30
        while subprocess.run(["sinfo", "-h", "-N", "-o", "%t"], capture_output=True, text=True).stdout.split() != 4 * ["idle"]:
            assert time.monotonic() < deadline, (base / "slurmctld.log").read_text()
            time.sleep(0.5)
        yield base
        subprocess.run(["scancel", "--user=root"], check=False)


needs_slurm = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0 or not all(map(shutil.which, DAEMONS)),
    reason="needs root and Debian's slurm-wlm and munge",
)


def preempted(folder: Path, words: list[str], checkpoints: int) -> str:
    """Runs a sweep to its end; an urgent job takes the cluster from it when it has some checkpoints. Returns its jobs' logs."""
    sweep = subprocess.Popen(
        [sys.executable, ROOT / "scripts" / "sweep.py", *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder,
    )  # fmt: skip
    runs = folder / "runs" / "demo"
    deadline = time.monotonic() + 300
    while len(list(runs.glob("*/checkpoints/*.pt"))) < checkpoints:
        assert sweep.poll() is None and time.monotonic() < deadline
        time.sleep(0.2)
    urgent = ["sbatch", "--wait", "--partition=urgent", "--ntasks=2", f"--output={folder}/urgent.log", "--wrap=sleep 2"]
    subprocess.run(urgent, check=True, capture_output=True, timeout=120)
    said = sweep.communicate(timeout=300)[0]
    assert sweep.returncode == 0, said
    logs = "".join(path.read_text() for path in (runs / ".slurm").glob("*_log.out"))
    assert " is saved" in logs, "nothing was preempted"
    return logs


def bits(run: RunConfig) -> tuple[dict[str, list[float]], list[dict[str, object]]]:
    state = checkpoint.load_latest(run.folder / "checkpoints")
    assert state is not None
    rows = [{**row, "samples_per_s": None} for row in read_metrics(run.folder / "metrics.jsonl")]
    return {name: tensor.flatten().tolist() for name, tensor in state["model"].items()}, rows


def trained_steps(run: Path) -> list[int]:
    return [row["step"] for row in read_metrics(run / "metrics.jsonl") if row["split"] == "train"]


@needs_slurm
def test_an_array_of_slurm_shares_the_runs_and_goes_on_after_preemption(slurm: Path, tmp_path: Path) -> None:
    words = ["init=idinit,fixup", "seed=0,1", "launcher.jobs=2", "train.epochs=60", "impl.checkpoint_every=5"]
    preempted(tmp_path, arguments(tmp_path, *words, "wandb.mode=disabled"), checkpoints=2)
    archived = pd.read_csv(tmp_path / "results" / "demo" / "runs.csv")
    assert sorted(archived["arm"]) == ["fixup", "fixup", "idinit", "idinit"]
    for run in (tmp_path / "runs" / "demo").glob("*-s*"):
        assert trained_steps(run) == sorted(set(trained_steps(run))), "a step was recorded twice"


@needs_slurm
def test_a_run_over_two_nodes_is_preempted_as_a_whole_and_ends_in_the_bits_of_one_left_alone(
    slurm: Path, tmp_path: Path
) -> None:
    words = [
        "init=idinit",
        "seed=0",
        "train.epochs=100",
        "train.evaluate_every=50",
        "impl.checkpoint_every=10",
        "wandb.mode=disabled",
    ]
    logs = preempted(tmp_path, arguments(tmp_path, *words, "launcher.jobs=1", "launcher.nodes=2"), checkpoints=1)
    assert "node=0(2)" in logs and "node=1(2)" in logs
    (run,) = load_experiment(arguments(tmp_path, *words)).main_runs({})
    (alone,) = load_experiment(arguments(tmp_path / "alone", *words)).main_runs({})
    train_together(alone, 2)
    assert bits(run) == bits(alone)
    assert trained_steps(run.folder) == sorted(set(trained_steps(run.folder))), "a step was recorded twice"
    assert json.loads((run.folder / "env.json").read_text())["processes"] == 2


@needs_slurm
@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("nodes=3", "PartitionConfig"),
        ("partition=nowhere", "invalid partition specified: nowhere; Batch job submission failed"),
    ],
)
def test_what_the_cluster_does_not_have_is_refused_in_one_line(slurm: Path, tmp_path: Path, option: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        launch(arguments(tmp_path, f"launcher.{option}"))
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not subprocess.run(["squeue", "--noheader"], capture_output=True, text=True, check=True).stdout
