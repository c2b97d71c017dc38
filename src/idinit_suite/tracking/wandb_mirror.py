"""Mirrors a run folder to Weights & Biases while the run writes it.

The run folder is the truth and the mirror only reads it, from a process of its own (``wandb_follower.py``). So W&B can
be slow, down or not installed: the run does not wait for it, and shares no interpreter, random state or signal with it.
"""

from __future__ import annotations

import atexit
import logging
import netrc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from .wandb_follower import NOT_MIRRORED

Mode = Literal["auto", "online", "offline", "disabled"]

PATIENCE_S = 3.0  # how long the end of a run waits for its mirror; what is left then is sent in the background
LINGER_S = 60.0  # how long that may take
WHOLE_RUN_S = 600.0  # how long sending all of a finished run may take

log = logging.getLogger(__name__)

_FOLLOWER = str(Path(__file__).with_name("wandb_follower.py"))
# Run as a file, because importing it as a part of this package would load torch, which it does not need.
_RUN_FOLLOWER = f"import runpy; runpy.run_path({_FOLLOWER!r}, run_name='__main__')"
_CLONE = Path(__file__).parents[3]


@contextmanager
def mirrored(folder: Path, *, mode: Mode, project: str) -> Iterator[None]:
    """Mirrors the run folder for as long as the block runs, up to the last row that was written in it.

    Errors of W&B are logged in one line, kept in ``wandb/not-mirrored.txt`` of the folder, and never raised. A resumed run
    continues the same W&B run without repeated rows: online, W&B says which step it has last; offline, the file is made anew
    from the whole log.

    Args:
        folder: The run folder. ``config.yaml``, ``env.json`` and ``metrics.jsonl`` are there, the last one grows, and
            ``status.json`` is final when the block ends.
        mode: ``online``; ``offline`` (a file under ``folder/wandb`` for ``wandb sync``); ``disabled``; ``auto``: online
            when logged in, else disabled.
        project: The W&B project; ``WANDB_ENTITY`` says in which account, as everywhere in W&B.
    """
    resolved = resolve_mode(mode)
    if resolved == "disabled":
        yield
        return
    follower = _start(folder, resolved, project)
    if follower is None:
        yield
        return
    relay = threading.Thread(target=_relay, args=(folder, follower), daemon=True)
    relay.start()
    try:
        yield
    finally:
        _finish(follower)
        if follower.poll() is not None:
            relay.join(1.0)  # until its last lines are printed


def resolve_mode(mode: Mode) -> Literal["online", "offline", "disabled"]:
    """Resolves ``auto``, for which W&B's own ``WANDB_MODE`` comes first; other modes are returned as they are."""
    if mode != "auto":
        return mode
    match os.environ.get("WANDB_MODE"):
        case "offline":
            return "offline"
        case "disabled":
            return "disabled"
    return "online" if logged_in() else "disabled"


def logged_in() -> bool:
    """Whether there is an API key: in ``WANDB_API_KEY``, or in the netrc file for the host of ``WANDB_BASE_URL``."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").netloc
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _start(folder: Path, mode: str, project: str) -> subprocess.Popen[str] | None:
    unwanted = os.environ.get("WANDB_DISABLE_CODE", "").lower() in ("true", "1")
    saves_code = not unwanted and (_CLONE / "src" / "idinit_suite").is_dir()  # installed, it has no clone
    try:
        return subprocess.Popen(
            [*_command(folder, mode, project, LINGER_S), *([str(_CLONE)] if saves_code else [])],
            stdin=subprocess.PIPE,  # closes with the run, however it ends: the follower's sign to finish
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is meant for the run
            text=True,
        )
    except OSError as error:
        log.warning("W&B: not mirrored, its process could not be started (%s)", error)
        return None


def _command(folder: Path, mode: str, project: str, linger_s: float) -> list[str]:
    return [sys.executable, "-c", _RUN_FOLLOWER, str(folder.resolve()), mode, project, str(linger_s)]


def _relay(folder: Path, follower: subprocess.Popen[str]) -> None:
    assert follower.stdout is not None
    with follower.stdout as lines:
        for line in lines:
            log.warning("W&B: %s", line.strip())  # the run's address, or what went wrong: shown by default
    if died := _unexpected_end(folder, follower.wait()):
        log.warning("W&B: %s", died)


def _unexpected_end(folder: Path, code: int) -> str:
    """The message about a follower that ended without one of its own, as if killed; it is noted in the folder as well."""
    if code == 0 or (folder / NOT_MIRRORED).exists():
        return ""
    line = f"not mirrored (its process ended with {code}); the run's own log is complete, and `make wandb` sends it"
    with suppress(OSError):
        (folder / NOT_MIRRORED).parent.mkdir(exist_ok=True)  # it may have been killed before it made that
        (folder / NOT_MIRRORED).write_text(f"{line}\n", encoding="utf-8")
    return line


def _finish(follower: subprocess.Popen[str]) -> None:
    assert follower.stdin is not None
    follower.stdin.close()
    try:
        follower.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        log.warning("W&B: still sending; this goes on in the background for at most %.0f s", LINGER_S)
        if "SLURM_JOB_ID" in os.environ:  # a job takes all processes with it when it ends
            atexit.register(follower.wait)


def mirror_finished(folder: Path, *, mode: Mode, project: str) -> None:
    """Mirrors a run that was finished before, where runs are mirrored: an agent of a sweep waits for its rows."""
    resolved = resolve_mode(mode)
    if resolved != "disabled":
        mirror(folder, mode=resolved, project=project)


def mirror(folder: Path, *, mode: Literal["online", "offline"], project: str) -> bool:
    """Mirrors a run folder as it is now, whoever made it and whenever; what W&B has of it already is not sent again.

    Args:
        folder: The run folder.
        mode: ``online``, or ``offline``: a file under ``folder/wandb`` with all of the run.
        project: The W&B project.

    Returns:
        Whether W&B has it all. If not, the reason was said in one line of the log.
    """
    files = list((folder / "wandb").glob("offline-run-*/*.wandb")) if mode == "offline" else []
    changed = max((folder / name).stat().st_mtime for name in ("metrics.jsonl", "status.json"))
    if any(file.stat().st_mtime > changed for file in files):
        return True  # nothing was written to the run since
    command, no = _command(folder, mode, project, WHOLE_RUN_S), subprocess.DEVNULL
    done = subprocess.run(command, stdin=no, stdout=subprocess.PIPE, stderr=no, text=True, check=False)
    for line in [*done.stdout.splitlines(), _unexpected_end(folder, done.returncode)]:
        if line:
            log.warning("W&B: %s: %s", folder.name, line.strip())
    return done.returncode == 0
