"""What goes wrong with W&B is one line, and costs the run nothing."""

from __future__ import annotations

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
from pathlib import Path
from typing import Any

import pytest
import torch
from wandb_toys import WandbServer, say, write

from idinit_suite.tracking import wandb_mirror
from idinit_suite.tracking.wandb_follower import NOT_MIRRORED
from idinit_suite.tracking.wandb_mirror import mirror, mirrored


def log_in(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", url)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)


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
    given_up = (folder / NOT_MIRRORED).read_text().strip()
    assert [given_up in line for line in caplog.messages] in ([False], [False, True])  # before that: that it is still sending


@pytest.mark.usefixtures("patient")
def test_an_upload_that_is_refused_is_told_and_made_up_for_later(
    folder: Path, server: WandbServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.refuses = "file_stream"
    with mirrored(folder, mode="online", project="suite"):
        write(folder, 0, 10)
        say(folder, "done")
    assert [server.url in line for line in caplog.messages] == [True, False]
    assert (folder / NOT_MIRRORED).exists()
    assert not mirror(folder, mode="online", project="suite")
    server.refuses = ""
    assert mirror(folder, mode="online", project="suite")
    assert len(server.history) == 2 and not (folder / NOT_MIRRORED).exists()


@needs_proc
def test_a_job_of_slurm_ends_after_its_mirror(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import sys; from pathlib import Path; from idinit_suite.tracking import wandb_mirror as mirror\n"
        "mirror.PATIENCE_S, mirror.LINGER_S = 0.5, 3.0\n"
        "with mirror.mirrored(Path(sys.argv[1]), mode='online', project='suite'): pass"
    )
    write(folder, 0, 10)
    say(folder, "done")
    left = {}
    with listener_that_never_answers() as url:
        log_in(monkeypatch, url)
        for job in ("", "17"):
            if job:
                monkeypatch.setenv("SLURM_JOB_ID", job)
            subprocess.run([sys.executable, "-c", program, str(folder)], check=True, timeout=60)
            left[job] = bool(processes_of(folder))
            while processes_of(folder):
                time.sleep(0.1)
    assert left == {"": True, "17": False}


@pytest.mark.usefixtures("patient")
def test_absent_wandb_is_one_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "wandb.py").write_text("raise ModuleNotFoundError(\"No module named 'wandb'\")")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with mirrored(folder, mode="online", project="suite"):
        pass
    wait_for(caplog)
    (line,) = caplog.messages
    assert "ModuleNotFoundError: No module named 'wandb'" in line
    assert (folder / NOT_MIRRORED).read_text().strip() in line


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
@pytest.mark.usefixtures("patient")
def test_killed_follower_is_told_and_does_not_matter(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with mirrored(folder, mode="offline", project="suite"):
        while not (alive := processes_of(folder)):  # it shows in /proc a moment after it has started
            time.sleep(0.01)
        os.kill(alive[0], signal.SIGKILL)
        write(folder, 0)
        say(folder, "done")
    wait_for(caplog)
    (line,) = caplog.messages
    assert (folder / NOT_MIRRORED).read_text().strip() in line


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
