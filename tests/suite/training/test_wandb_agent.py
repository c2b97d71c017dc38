"""A sweep driven by W&B's own agent, which asks a server what to run and starts the program of the sweep file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from wandb_toys import WandbServer

ROOT = Path(__file__).parents[3]
# its own waiting, five seconds between any two questions, is all that is changed
AGENT = "from wandb import wandb_agent as a; a.Agent.POLL_INTERVAL = 0.2; a.agent('team/idinit/sweep0', count=1)"
TINY = ["model=resnet", "model.depth=8", "data=digits", "data.batch_size=16", "data.train_limit=32", "impl.threads=1"]
PLAIN = ["train.epochs=1", "train.compile=false", "train.precision=float32"]


def test_an_agent_trains_what_its_sweep_says(server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = yaml.safe_load((ROOT / "configs" / "wandb-sweep.yaml").read_text())
    places = [f"paths.{place}={tmp_path}/{place}" for place in ("data", "runs", "results")]
    sweep["command"][-1:] = [*TINY, *PLAIN, *places, sweep["command"][-1]]  # the agent's arguments stay the last
    server.sweep = yaml.safe_dump(sweep)
    server.points = [{"init": "fixup", "optim.lr": 0.03, "seed": 2, "train.ema": None}]
    for name, value in {"WANDB_MODE": "online", "WANDB_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    done = subprocess.run([sys.executable, "-c", AGENT], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs").glob("*/fixup-s2-*")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert (config["init"]["name"], config["optim"]["lr"], config["seed"]) == ("fixup", 0.03, 2)
    assert json.loads((folder / "status.json").read_text())["state"] == "done"
    ends = time.monotonic() + 120
    while not server.exit_codes and time.monotonic() < ends:
        time.sleep(0.05)  # on a busy machine the mirror goes on after the run
    assert server.agents == {"agentrun0": "sweep0"} and server.exit_codes == [0]
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [json.loads(line)["_step"] for line in server.history] == sorted({row["step"] for row in rows})
