"""W&B's own agent drives the sweep file, against the stand-in for a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml
from wandb_toys import WandbServer

ROOT = Path(__file__).parents[3]


def wandb(*arguments: str, at: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # an agent runs the `python` it finds
    command = [sys.executable, "-m", "wandb", *arguments]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PATH": path, "WANDB_DIR": str(at)}, check=True, timeout=600)


def test_the_agent_fills_its_runs_also_of_a_configuration_that_is_done(server: WandbServer, tmp_path: Path) -> None:
    wandb("sweep", "--entity=team", "configs/wandb-sweep.yaml", at=tmp_path)
    sweep = yaml.safe_load(server.sweep)
    small = ["budget=smoke", "model=resnet", "model.depth=8", "data=digits", "data.batch_size=16", "data.train_limit=64"]
    here = [f"paths.{place}={tmp_path}/{place}" for place in ("data", "runs", "results")]
    point = sweep["command"].index("${args_no_hyphens}")
    sweep["command"][point:point] = [*small, *here, "train.precision=float32", "impl.threads=1"]
    server.sweep = yaml.safe_dump(sweep)
    first = {name: values["values"][0] for name, values in sweep["parameters"].items()} | {"train.clip_norm": None}
    server.points = [first, first]

    wandb("agent", "team/idinit/sweep", at=tmp_path)

    (log,) = tmp_path.glob("runs/cifar10-resnet20/idinit-s0-*/metrics.jsonl")
    steps = {row["step"] for row in map(json.loads, log.read_text().splitlines())}
    assert server.sweeps == {"sweep"} and server.exit_codes == [0, 0]
    sent = {run: [json.loads(line)["_step"] for line in lines] for run, lines in server.histories.items()}
    assert sent == {"agentrun1": sorted(steps), "agentrun0": sorted(steps)}
