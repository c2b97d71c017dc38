"""Sweeps in several processes: on this machine, and in a real Slurm of one node where Debian's packages are installed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pytest

from idinit.errors import UsageError
from idinit_suite.experiments.concurrency import choose_jobs
from idinit_suite.experiments.grid import load
from idinit_suite.experiments.launcher import launch
from idinit_suite.experiments.processes import cores, shares
from idinit_suite.experiments.runner import missing_runs

ROOT = Path(__file__).parents[3]
TINY = [
    "train.precision=float32",
    "model=resnet",
    "model.depth=8",
    "data.batch_size=16",
    "data.train_limit=32",
    "impl.threads=1",
    "wandb.mode=disabled",
]
DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch")


def arguments(folder: Path, *more: str) -> list[str]:
    places = [f"paths.{place}={folder}/{place}" for place in ("data", "runs", "results")]
    return ["experiment=demo", "budget=smoke", "init=idinit,fixup", "seed=0,1", *TINY, *places, *more]


def archived_variants(folder: Path) -> list[str]:
    return sorted(pd.read_csv(folder / "results" / "demo" / "runs.csv")["arm"])


@pytest.mark.parametrize(
    ("jobs", "cores", "gpus", "expected"),
    [
        (2, [0, 1, 2, 3], 0, [([0, 2], None), ([1, 3], None)]),
        (3, [4, 5, 6, 7], 2, [([4, 7], 0), ([5], 1), ([6], 0)]),
        (3, [0, 1], 0, [([0], None), ([1], None), ([0], None)]),
    ],
)
def test_processes_get_equal_shares_of_cores_and_gpus(jobs: int, cores: list[int], gpus: int, expected: list) -> None:
    assert shares(jobs, cores, gpus) == expected


@pytest.mark.parametrize(("name", "jobs"), [("serial", 1), ("local", "auto"), ("slurm", 4)])
def test_every_launcher_is_a_choice(name: str, jobs: int | str) -> None:
    config = load(["experiment=cifar10-resnet20", f"launcher={name}"]).launcher
    assert (config.name, config.jobs) == (name, jobs)


@pytest.mark.parametrize(
    ("launcher", "value", "message"),
    [
        ("local", "0", "'launcher.jobs=0': say a whole number from 1 on, or auto"),
        ("local", "abc", "'launcher.jobs=abc': say a whole number from 1 on, or auto"),
        ("local", "true", "'launcher.jobs=True': true is no number"),
        ("slurm", "auto", "jobs=auto is measured on this machine"),
    ],
)
def test_a_number_of_jobs_that_makes_no_sense_gets_one_line(tmp_path: Path, launcher: str, value: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        launch(arguments(tmp_path, f"launcher={launcher}", f"launcher.jobs={value}"))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_local_processes_are_pinned_share_the_runs_and_write_the_results(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert launch(arguments(tmp_path, "launcher=local", "launcher.jobs=2")) == []
    said = capfd.readouterr().out
    assert archived_variants(tmp_path) == ["fixup", "fixup", "idinit", "idinit"]
    assert "1| " in said and "2| " in said
    begun = [line for line in said.splitlines() if "  0/2  " in line]
    assert len(begun) == 4, "each run is begun once"
    assert (tmp_path / "results" / "demo" / "README.md").exists()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_each_local_process_stays_on_its_cores(tmp_path: Path) -> None:
    words = arguments(tmp_path, "launcher=local", "launcher.jobs=2", "train.epochs=400")
    sweep = subprocess.Popen(
        [sys.executable, ROOT / "scripts" / "sweep.py", *words],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
    )  # fmt: skip
    bound: list[set[int]] = []
    children: list[int] = []
    deadline = time.monotonic() + 60
    while (len(bound) < 2 or bound[0] & bound[1]) and time.monotonic() < deadline:  # they are pinned a moment after they start
        time.sleep(0.2)
        children = [int(pid) for pid in Path(f"/proc/{sweep.pid}/task/{sweep.pid}/children").read_text().split()]
        bound = [os.sched_getaffinity(pid) for pid in children]
    sweep.send_signal(signal.SIGTERM)
    errors = sweep.communicate(timeout=60)[1]
    assert len(bound) == 2 and not bound[0] & bound[1]
    assert sweep.returncode == 75 and "run the same command again" in errors
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_a_variant_that_cannot_be_built_is_told_by_one_of_several_processes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="demo cannot be run wholly as asked"):
        launch(arguments(tmp_path, "launcher=local", "launcher.jobs=2", "init=t_fixup,idinit"))
    assert "t_fixup was not trained: " in capfd.readouterr().out
    assert archived_variants(tmp_path) == ["idinit", "idinit"]


@pytest.mark.skipif(len(cores()) < 2, reason="needs two cores")
def test_the_number_of_jobs_is_measured_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = arguments(tmp_path, "launcher=local", "init=t_fixup,idinit", "impl.threads=null")
    with pytest.raises(UsageError, match="t_fixup was not trained|cannot be run wholly"):
        launch(words)
    said = capfd.readouterr().out
    assert "launcher.jobs=auto: measuring" in said and archived_variants(tmp_path) == ["idinit", "idinit"]
    (speeds,) = json.loads((tmp_path / "runs" / ".concurrency.json").read_text()).values()
    assert len(speeds) == 2 and min(speeds) > 0
    assert f"launcher.jobs={2 if speeds[1] > speeds[0] else 1}: " in said
    launch([word for word in words if "init=" not in word] + ["init=idinit,zero"])
    assert "measuring" not in capfd.readouterr().out


def test_runs_of_one_thread_are_as_many_as_cores(tmp_path: Path) -> None:
    runs = missing_runs(load(arguments(tmp_path, "init=idinit,fixup,zero", "seed=range(40)")))
    assert choose_jobs(runs) == len(cores())
    assert choose_jobs(runs[:1]) == 1


@pytest.mark.skipif(shutil.which("sbatch") is not None, reason="there is a Slurm here")
def test_without_slurm_the_remedy_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="launcher=slurm: .*choose launcher=local"):
        launch(arguments(tmp_path, "launcher=slurm"))


# Commands that take the place of Slurm's: one job at a time, on this machine.
SLURM = {
    "sbatch": "echo Submitted batch job 17; touch $0.runs; (SLURM_JOB_ID=17 bash $1; rm $0.runs) >$0.log 2>&1 &",
    "srun": 'while [ ! -e "$1" ]; do shift; done; exec "$@"',  # without its options
    "squeue": "ls ${0%squeue}sbatch.runs 2>/dev/null",
    "scontrol": "",
}


def test_jobs_of_slurm_mirror_their_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    for name, program in SLURM.items():
        command = tmp_path / "bin" / name
        command.write_text(f"#!/bin/bash\n{program}\n")
        command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("WANDB_MODE", "offline")  # the job has the environment of the command, with its login
    monkeypatch.setattr("idinit_suite.experiments.launcher._POLL_S", 0.2)
    slurm = ["launcher=slurm", "launcher.jobs=1", "launcher.gpus=0", "init=idinit", "seed=0", "wandb.mode=auto"]
    left = launch([word for word in arguments(tmp_path) if "wandb" not in word] + slurm)
    assert left == [], (tmp_path / "bin" / "sbatch.log").read_text()
    (run,) = (tmp_path / "runs" / "demo").glob("idinit-*")
    (file,) = run.glob("wandb/offline-run-*/*.wandb")
    assert run.name.rpartition("-")[2] in file.name and file.stat().st_size > 1000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cluster of this machine alone, for the time of a test; its partition ``urgent`` preempts ``main``."""
    base = tmp_path / "slurm"
    for name in ("state", "spool"):
        (base / name).mkdir(parents=True)
    key, munge = base / "munge.key", base / "munge.socket"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    host = socket.gethostname().split(".")[0]
    (base / "slurm.conf").write_text(
        f"""
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthInfo=socket={munge},cred_expire=10
SlurmctldPort={free_port()}
SlurmdPort={free_port()}
StateSaveLocation={base}/state
SlurmdSpoolDir={base}/spool
SlurmctldPidFile={base}/slurmctld.pid
SlurmdPidFile={base}/slurmd.pid
SlurmctldLogFile={base}/slurmctld.log
SlurmdLogFile={base}/slurmd.log
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
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES PriorityTier=1 GraceTime=8 State=UP
PartitionName=urgent Nodes=ALL PriorityTier=9 PreemptMode=OFF State=UP
"""
    )
    monkeypatch.setenv("SLURM_CONF", str(base / "slurm.conf"))
    commands = (
        ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={munge}", f"--pid-file={base}/munge.pid",
         f"--seed-file={base}/munge.seed", f"--log-file={base}/munge.log"],
        ["slurmctld", "-D"],
        ["slurmd", "-D"],
    )  # fmt: skip
    with ExitStack() as stack:
        for command in commands:
            daemon = stack.enter_context(
                subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
            )
            stack.callback(daemon.terminate)
            time.sleep(1)
        deadline = time.monotonic() + 30
        while "idle" not in subprocess.run(["sinfo", "-h", "-o", "%t"], capture_output=True, text=True).stdout:
            assert time.monotonic() < deadline, (base / "slurmctld.log").read_text()
            time.sleep(0.5)
        yield base
        subprocess.run(["scancel", "--user=root"], check=False)


needs_slurm = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0 or not all(map(shutil.which, DAEMONS)),
    reason="needs root and Debian's slurm-wlm and munge",
)


@needs_slurm
def test_an_array_of_slurm_shares_the_runs_and_goes_on_after_preemption(slurm: Path, tmp_path: Path) -> None:
    small = [
        "launcher=slurm",
        "launcher.jobs=2",
        "launcher.gpus=0",
        "launcher.cores=1",
        "train.epochs=60",
        "impl.checkpoint_every=5",
    ]
    sweep = subprocess.Popen(
        [sys.executable, ROOT / "scripts" / "sweep.py", *arguments(tmp_path, *small)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path,
    )  # fmt: skip
    runs = tmp_path / "runs" / "demo"
    deadline = time.monotonic() + 120
    while len(list(runs.glob("*/checkpoints/*.pt"))) < 2:
        assert sweep.poll() is None and time.monotonic() < deadline
        time.sleep(0.5)
    urgent = ["sbatch", "--wait", "--partition=urgent", "--ntasks=2", f"--output={tmp_path}/urgent.log", "--wrap=sleep 2"]
    subprocess.run(urgent, check=True, capture_output=True, timeout=120)
    said = sweep.communicate(timeout=300)[0]
    assert sweep.returncode == 0, said
    assert archived_variants(tmp_path) == ["fixup", "fixup", "idinit", "idinit"]
    logs = "".join(path.read_text() for path in (runs / ".slurm").glob("*_log.out"))
    assert "is saved at step" in logs, "nothing was preempted"
    for metrics in runs.glob("*/metrics.jsonl"):
        steps = [line.split(",")[0] for line in metrics.read_text().splitlines() if '"train"' in line]
        assert steps == sorted(set(steps), key=steps.index), "a step was recorded twice"
