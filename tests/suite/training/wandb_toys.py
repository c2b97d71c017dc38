"""A run folder made up to order, what W&B should know of it, and a W&B server of a few answers."""

from __future__ import annotations

import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

CONFIG = {
    "experiment": "toy",
    "arm": "idinit-loose",
    "budget": "cpu",
    "seed": 3,
    "optim": {"lr": 0.1},
    "model": {"name": "mlp", "depth": 2},
}
COMMIT = "c0ffee" + 34 * "0"
ENV = {"python": "3.11", "hardware": {"cores": 2}, "commit": f"{COMMIT}-dirty"}


def say(folder: Path, state: str) -> None:
    (folder / "status.json").write_text(json.dumps({"state": state}))


def three_rows(step: int) -> list[dict[str, Any]]:
    shared = {"step": step, "epoch": step / 20}
    return [
        {**shared, "split": "train", "loss": 1 / (step + 1), "accuracy": 0.25, "lr": 0.1, "samples_per_s": 99.5},
        {**shared, "split": "validation", "loss": 2.0, "accuracy": step / 100, "lr": 0.1, "samples_per_s": None},
        {**shared, "split": "test", "loss": 3.0, "accuracy": 0.5, "lr": 0.1, "samples_per_s": None},
    ]


def write(folder: Path, *steps: int) -> None:
    with (folder / "metrics.jsonl").open("a") as file:
        for step in steps:
            file.writelines(json.dumps(row) + "\n" for row in three_rows(step))


def as_history(step: int) -> dict[str, float]:
    """What W&B should know of a step, spelled out."""
    return {
        "_step": step,
        "epoch": step / 20,
        "train/loss": 1 / (step + 1),
        "train/accuracy": 0.25,
        "lr": 0.1,
        "train/samples_per_s": 99.5,
        "validation/loss": 2.0,
        "validation/accuracy": step / 100,
        "test/loss": 3.0,
        "test/accuracy": 0.5,
    }


def without_clock(item: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key not in ("_runtime", "_timestamp")}


def offline_records(folder: Path) -> list[dict[str, Any]]:
    """The records of the run's one offline file, as W&B's own reader prints them."""
    (file,) = (folder / "wandb").glob("offline-run-*/*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in printed.splitlines()]


def offline_history(folder: Path) -> list[dict[str, Any]]:
    return [without_clock(r["history"]["item"]) for r in offline_records(folder) if r["type"] == "history"]


def summary_of(folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    for record in offline_records(folder):
        summary |= record.get("summary", {}).get("update", {})
    return summary


class WandbServer(ThreadingHTTPServer):
    """The few answers of a W&B server that a run needs; keeps the history lines that it is sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.runs: dict[str, dict[str, Any]] = {}  # by id
        self.histories: dict[str, list[str]] = {}
        self.exit_codes: list[int] = []
        self.refuses = ""  # what is in the path of a request that is answered with 403
        self.artifacts: list[dict[str, Any]] = []
        self.sweep = ""  # its configuration, as YAML
        self.sweeps: set[str] = set()  # that runs say they are of
        self.points: list[dict[str, Any]] = []  # of the sweep: what an agent is still to run

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def history(self) -> list[str]:
        """The history of the only run."""
        return next(iter(self.histories.values()), [])

    def graphql(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        project = {"id": "m", "name": "idinit", "entity": {"id": "e", "name": "team"}}
        if "query Viewer" in query:
            return {"viewer": {"id": "u", "entity": "team", "username": "me", "flags": "{}", "teams": {"edges": []}}}
        if "RunResumeStatus" in query:
            name = variables["name"]
            if name not in self.runs:
                return {"model": {**project, "bucket": None}}
            progress = {
                "historyLineCount": len(self.histories[name]),
                "eventsLineCount": 0,
                "logLineCount": 0,
                "historyTail": json.dumps(self.histories[name][-1:]),
                "eventsTail": "[]",
                "summaryMetrics": "{}",
                "config": "{}",
                "wandbConfig": '{"t": 1}',
                "tags": [],
            }
            return {"model": {**project, "bucket": {**self.runs[name], **progress}}}
        if "UpsertBucket" in query:
            bucket = {"id": "r", "name": variables["name"], "displayName": variables["displayName"]}
            self.runs[bucket["name"]] = bucket
            self.histories.setdefault(bucket["name"], [])
            self.sweeps |= {variables["sweep"]} if variables.get("sweep") else set()
            return {"upsertBucket": {"bucket": {**bucket, "project": project}, "inserted": True}}
        if "UpsertSweep" in query:
            self.sweep = variables["config"]
            return {"upsertSweep": {"sweep": {"name": "sweep", "project": project}, "configValidationWarnings": []}}
        if "SweepWithRuns" in query:
            return {"project": {"sweep": {"name": "sweep", "config": self.sweep, "runs": {"edges": []}}}}
        if "CreateAgent" in query:
            return {"createAgent": {"agent": {"id": "agent"}}}
        if "Heartbeat" in query:
            return {"agentHeartbeat": {"agent": {"id": "agent"}, "commands": json.dumps(self.commands(variables))}}
        if "ArtifactType" in query:
            return {"project": {"artifact": None}}
        if "CreateArtifact" in query:  # committed: its files are there, none is uploaded
            self.artifacts.append(variables["input"])
            return {"createArtifact": {"artifact": {"id": "a", "state": "COMMITTED", "artifactSequence": {"id": "s"}}}}
        if "CreateRunFiles" in query:
            return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": []}}
        return {}

    def commands(self, heartbeat: dict[str, Any]) -> list[dict[str, Any]]:
        """What an agent is to do next: one point after another, then no more."""
        if json.loads(heartbeat["runState"]):
            return []
        if not self.points:
            return [{"type": "exit"}]
        point = {name: {"value": value} for name, value in self.points.pop(0).items()}
        program = yaml.safe_load(self.sweep)["program"]
        return [{"type": "run", "run_id": f"agentrun{len(self.points)}", "program": program, "args": point}]

    def file_stream(self, run: str, body: dict[str, Any]) -> None:
        if "wandb-history.jsonl" in body.get("files", {}):
            chunk = body["files"]["wandb-history.jsonl"]
            self.histories[run][chunk["offset"] :] = chunk["content"]
        if body.get("complete"):
            self.exit_codes.append(body["exitcode"])


class _Answers(BaseHTTPRequestHandler):
    server: WandbServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer: dict[str, Any] = {}
        if self.path == "/graphql":
            request = json.loads(body)
            answer = {"data": self.server.graphql(request["query"], request.get("variables") or {})}
        elif self.path.endswith("/file_stream") and not self.server.refuses:
            self.server.file_stream(self.path.split("/")[-2], json.loads(body))
        self._answer(answer)

    def do_GET(self) -> None:
        self._answer({})

    def _answer(self, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        refused = self.server.refuses and self.server.refuses in self.path
        self.send_response(403 if refused else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass
