from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from idinit_suite.config import check, compose
from idinit_suite.training.distributed import join_team
from idinit_suite.training.run_folder import RunFolder

TRAIN = Path(__file__).parents[3] / "scripts" / "train.py"


def test_processes_of_one_machine_share_its_cores_for_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """128 processes on 16 nodes of 64 cores: each may have eight workers, not none."""
    monkeypatch.setenv("WORLD_SIZE", "128")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_rank", lambda: 3)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    with join_team(torch.device("cpu")) as team:
        assert (team.rank, team.world_size, team.local_world_size) == (3, 128, 8)
        assert check(compose([])).impl.workers_of(team.local_world_size) == 8


@pytest.mark.parametrize(("obstacle", "code", "says"), [("lease", 2, "is being trained by"), ("file", 1, "cannot read")])
def test_a_folder_that_cannot_be_held_ends_all_processes_with_one_line(
    obstacle: str, code: int, says: str, tmp_path: Path
) -> None:
    words = ["model=mlp", "data=digits", "impl.threads=1", "wandb.mode=disabled", f"paths.runs={tmp_path}/runs"]
    folder = RunFolder(check(compose(words)).folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1]), "WORLD_SIZE": "2"}
    if obstacle == "lease":
        folder.__enter__()
    else:
        folder.path.parent.parent.mkdir(parents=True)
        folder.path.parent.touch()
    started = [
        subprocess.Popen(
            [sys.executable, str(TRAIN), *words],
            env={**os.environ, **meeting, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=300)[1] for process in started]
    if obstacle == "lease":
        folder.__exit__()
    assert [process.returncode for process in started] == [code, code], errors
    assert errors[0] == errors[1] and errors[0].startswith("idinit: ") and says in errors[0] and errors[0].count("\n") == 1
