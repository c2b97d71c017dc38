"""A run folder made up to order, what W&B should know of it, and a W&B server of a few answers."""

from __future__ import annotations

import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

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
        self.history: list[str] = []
        self.known: dict[str, Any] | None = None  # the run
        self.exit_codes: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def graphql(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        project = {"id": "m", "name": "idinit", "entity": {"id": "e", "name": "team"}}
        if "RunResumeStatus" in query:
            if self.known is None:
                return {"model": {**project, "bucket": None}}
            progress = {
                "historyLineCount": len(self.history),
                "eventsLineCount": 0,
                "logLineCount": 0,
                "historyTail": json.dumps(self.history[-1:]),
                "eventsTail": "[]",
                "summaryMetrics": "{}",
                "config": "{}",
                "wandbConfig": '{"t": 1}',
                "tags": [],
            }
            return {"model": {**project, "bucket": {**self.known, **progress}}}
        if "UpsertBucket" in query:
            self.known = {"id": "r", "name": variables["name"], "displayName": variables["displayName"]}
            return {"upsertBucket": {"bucket": {**self.known, "project": project}, "inserted": True}}
        if "CreateRunFiles" in query:
            return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": []}}
        return {}

    def file_stream(self, body: dict[str, Any]) -> None:
        if "wandb-history.jsonl" in body.get("files", {}):
            chunk = body["files"]["wandb-history.jsonl"]
            self.history[chunk["offset"] :] = chunk["content"]
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
        elif self.path.endswith("/file_stream"):
            self.server.file_stream(json.loads(body))
        self._answer(answer)

    def do_GET(self) -> None:
        self._answer({})

    def _answer(self, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass
