from __future__ import annotations

import json
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from idinit.training import wandb_mirror
from idinit.training.wandb_follower import complete_steps, rows
from idinit.training.wandb_mirror import mirrored, resolve_mode

CONFIG = {"experiment": "toy", "arm": "idinit-loose", "seed": 3, "model": {"name": "mlp", "depth": 2}}
ENV = {"python": "3.11", "hardware": {"cores": 2}}


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
        "train/lr": 0.1,
        "train/samples_per_s": 99.5,
        "validation/loss": 2.0,
        "validation/accuracy": step / 100,
        "validation/lr": 0.1,
        "test/loss": 3.0,
        "test/accuracy": 0.5,
        "test/lr": 0.1,
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


@pytest.mark.usefixtures("patient")
def test_offline_file_holds_the_run(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with mirrored(folder, mode="offline", project="suite"):
        write(folder, 0, 10, 20)
        say(folder, "done")
    records = {record["type"]: record[record["type"]] for record in offline_records(folder)}
    assert offline_history(folder) == [as_history(0), as_history(10), as_history(20)]
    run = records["run"]
    assert {key: run[key] for key in ("run_id", "display_name", "project", "run_group", "job_type")} == {
        "run_id": "0a1b2c3d",
        "display_name": "idinit-s3-0a1b2c3d",
        "project": "suite",
        "run_group": "toy",
        "job_type": "idinit-loose",
    }
    config = run["config"]["update"]
    assert {key: config[key] for key in (*CONFIG, "environment")} == {**CONFIG, "environment": ENV}
    assert (records["metric"]["glob_name"], records["metric"]["step_metric"]) == ("*", "epoch")
    assert caplog.messages == []


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(("state", "exit_code"), [("diverged", 0), ("failed", 1), ("preempted", 1)])
def test_how_the_run_ended(folder: Path, state: str, exit_code: int) -> None:
    with mirrored(folder, mode="offline", project="suite"):
        say(folder, state)
    records = offline_records(folder)
    assert [r["exit"].get("exit_code", 0) for r in records if r["type"] == "exit"] == [exit_code]
    summary: dict[str, Any] = {}
    for record in records:
        summary |= record.get("summary", {}).get("update", {})
    assert summary["state"] == state


@pytest.mark.usefixtures("patient")
def test_resumed_offline_run_is_one_file_with_each_step_once(folder: Path) -> None:
    with mirrored(folder, mode="offline", project="suite"):
        write(folder, 0, 10)
        say(folder, "preempted")
    assert offline_history(folder) == [as_history(0)]  # more could have come for step 10
    with mirrored(folder, mode="offline", project="suite"):
        write(folder, 20)
        say(folder, "done")
    assert offline_history(folder) == [as_history(0), as_history(10), as_history(20)]


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


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    with WandbServer() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        log_in(monkeypatch, running.url)
        yield running
        running.shutdown()


def log_in(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", url)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)


@pytest.mark.usefixtures("patient")
def test_online_run_resumed_twice_has_each_step_once(folder: Path, server: WandbServer) -> None:
    with mirrored(folder, mode="auto", project="suite"):
        write(folder, 0, 10, 20)  # the process is killed here: its status is still "running"
    assert [json.loads(line)["_step"] for line in server.history] == [0, 10]
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(lines[:3]))  # the checkpoint was of step 0: the run makes 10 and 20 again
    with mirrored(folder, mode="auto", project="suite"):
        write(folder, 10, 20)
        say(folder, "preempted")
    with mirrored(folder, mode="auto", project="suite"):
        write(folder, 30)
        say(folder, "done")
    assert [without_clock(json.loads(line)) for line in server.history] == [as_history(s) for s in (0, 10, 20, 30)]
    assert server.exit_codes == [1, 1, 0]


@contextmanager
def listener_that_never_answers() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepted: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    accepted.append(listener.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in accepted:
            connection.close()


@contextmanager
def closed_port() -> Iterator[str]:
    with socket.socket() as reserved:  # bound but not listening: connections are refused
        reserved.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{reserved.getsockname()[1]}"


def processes_of(folder: Path) -> list[int]:
    """The follower of a run folder, if it is alive, and its wandb-core process."""
    arguments: dict[int, list[str]] = {}
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it may have ended meanwhile
            arguments[int(file.parent.name)] = file.read_text().split("\0")
    followers = [pid for pid, words in arguments.items() if str(folder) in words]
    cores = [pid for pid, words in arguments.items() if any(words[-3:-1] == ["--pid", str(f)] for f in followers)]
    return followers + cores


needs_proc = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds processes in /proc")


@needs_proc
@pytest.mark.parametrize("down", [closed_port, listener_that_never_answers])
def test_server_that_is_down_costs_seconds(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, down: Any
) -> None:
    monkeypatch.setattr(wandb_mirror, "PATIENCE_S", 1.5)
    monkeypatch.setattr(wandb_mirror, "LINGER_S", 3.0)
    with down() as url:
        log_in(monkeypatch, url)
        begin = time.monotonic()
        with mirrored(folder, mode="online", project="suite"):
            write(folder, 0, 10)
            say(folder, "done")
            in_run = time.monotonic() - begin
        whole = time.monotonic() - begin
        left = processes_of(folder)
        deadline = time.monotonic() + 30
        while any(Path(f"/proc/{pid}").exists() for pid in left) and time.monotonic() < deadline:
            time.sleep(0.1)
    assert left and not any(Path(f"/proc/{pid}").exists() for pid in left)
    assert in_run < 2
    assert whole < 5  # 1.5 of it is the patience; W&B by itself would wait for 90
    assert caplog.messages == ["W&B: still sending; this goes on in the background for at most 3 s"]


@pytest.mark.usefixtures("patient")
def test_absent_wandb_is_one_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "wandb.py").write_text("raise ModuleNotFoundError(\"No module named 'wandb'\")")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with mirrored(folder, mode="online", project="suite"):
        pass
    wait_for(caplog)
    reason = "ModuleNotFoundError: No module named 'wandb'"
    assert caplog.messages == [f"W&B: not mirrored ({reason}); the run's own log is complete"]


@pytest.mark.usefixtures("patient")
def test_online_without_a_key_is_one_line(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with mirrored(folder, mode="online", project="suite"):
        pass
    wait_for(caplog)
    (line,) = caplog.messages
    assert "not mirrored (UsageError: " in line and "wandb login" in line


def wait_for(caplog: pytest.LogCaptureFixture) -> None:
    """Waits until the thread that relays the follower's lines has logged one."""
    deadline = time.monotonic() + 10
    while not caplog.messages and time.monotonic() < deadline:
        time.sleep(0.01)


@needs_proc
def test_killed_follower_does_not_matter(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with mirrored(folder, mode="offline", project="suite"):
        while not (alive := processes_of(folder)):  # it shows in /proc a moment after it has started
            time.sleep(0.01)
        os.kill(alive[0], signal.SIGKILL)
        write(folder, 0)
        say(folder, "done")
    assert caplog.messages == []


def test_process_that_cannot_start(folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(sys, "executable", str(folder / "no-such-python"))
    with mirrored(folder, mode="offline", project="suite"):
        write(folder, 0)
    (line,) = caplog.messages
    assert line.startswith("W&B: not mirrored, its process could not be started")


@pytest.mark.usefixtures("patient")
def test_the_run_is_not_altered(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def observed() -> list[object]:
        signals = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        hooks = [sys.excepthook, sys.exit, sys.stdout, logging.root.handlers[:]]
        return [random.getstate(), torch.get_rng_state().tolist(), dict(os.environ), *hooks, *signals]

    before = observed()
    with mirrored(folder, mode="offline", project="suite"):
        inside = observed()
    assert before == inside == observed()
    assert capfd.readouterr() == ("", "")


def test_error_of_the_run_passes_through(folder: Path) -> None:
    with pytest.raises(FloatingPointError, match="mine"), mirrored(folder, mode="offline", project="suite"):
        raise FloatingPointError("mine")


@needs_proc
def test_disabled_starts_nothing(folder: Path) -> None:
    with mirrored(folder, mode="disabled", project="suite"):
        assert processes_of(folder) == []
    assert not (folder / "wandb").exists()


@pytest.mark.parametrize(
    ("environment", "netrc", "expected"),
    [
        ({}, "", "disabled"),
        ({"WANDB_API_KEY": "k"}, "", "online"),
        ({}, "machine api.wandb.ai login user password k", "online"),
        ({}, "machine elsewhere.org login user password k", "disabled"),
        (
            {"WANDB_BASE_URL": "https://wandb.elsewhere.org:8080"},
            "machine wandb.elsewhere.org:8080 login user password k",
            "online",
        ),
        ({}, "not a netrc file", "disabled"),
        ({"WANDB_API_KEY": "k", "WANDB_MODE": "disabled"}, "", "disabled"),
        ({"WANDB_MODE": "offline"}, "", "offline"),
    ],
)
def test_auto(environment: dict[str, str], netrc: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text(netrc)
    for name, value in {"NETRC": str(tmp_path / "netrc"), **environment}.items():
        monkeypatch.setenv(name, value)
    assert resolve_mode("auto") == expected
    for mode in ("online", "offline", "disabled"):
        assert resolve_mode(mode) == mode


def test_rows_wait_for_the_rest_of_a_line(tmp_path: Path) -> None:
    log, ended, seen = tmp_path / "metrics.jsonl", threading.Event(), list[Any]()
    log.write_text('{"step": 1}\n{"st')
    reader = threading.Thread(target=lambda: seen.extend(rows(log, ended)))
    reader.start()
    with log.open("a") as file:
        file.write('ep": 2}\n')
    ended.set()
    reader.join()
    assert seen == [{"step": 1}, {"step": 2}]


@pytest.mark.parametrize(("state", "steps"), [("done", [0, 10]), ("diverged", [0, 10]), ("running", [0]), ("failed", [0])])
def test_last_step_is_held_back_until_the_run_is_over(folder: Path, state: str, steps: list[int]) -> None:
    write(folder, 0, 10)
    say(folder, state)
    ended = threading.Event()
    ended.set()
    assert [step for step, _ in complete_steps(folder, ended)] == steps
