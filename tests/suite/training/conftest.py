"""Fixtures of the tests of the W&B mirror."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from wandb_toys import CONFIG, ENV, WandbServer, say

from idinit_suite.tracking import wandb_mirror


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder before its first step."""
    path = tmp_path / "idinit-s3-0a1b2c3d"
    path.mkdir()
    (path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    (path / "env.json").write_text(json.dumps(ENV))
    (path / "metrics.jsonl").touch()
    say(path, "running")
    return path


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what is mirrored: however busy the machine is, the end of the run waits for the mirror."""
    monkeypatch.setattr(wandb_mirror, "PATIENCE_S", 60)
    monkeypatch.setattr(wandb_mirror, "LINGER_S", 300)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    with WandbServer() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        monkeypatch.setenv("WANDB_BASE_URL", running.url)
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        yield running
        running.shutdown()
