from __future__ import annotations

import pytest
import torch
import torch.distributed as dist

from idinit_suite.config import check, compose
from idinit_suite.training.distributed import workers


def test_processes_of_one_machine_share_its_cores_for_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """128 processes on 16 nodes of 64 cores: each may have eight workers, not none."""
    monkeypatch.setenv("WORLD_SIZE", "128")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_rank", lambda: 3)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    with workers(torch.device("cpu")) as team:
        assert (team.rank, team.world_size, team.local_world_size) == (3, 128, 8)
        assert check(compose([])).impl.workers_of(team.local_world_size) == 8
