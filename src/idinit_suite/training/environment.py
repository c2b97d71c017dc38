"""The environment of a run, stored beside every result: versions, hardware, commit, data."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch


def describe(device: torch.device) -> dict[str, Any]:
    """Versions of libraries, the hardware and the project's commit (``-dirty`` where files differ from it)."""
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": version("torchvision"),
        "idinit": version("idinit"),
        "platform": f"{platform.system()} {platform.machine()}",
        "hardware": {
            "cpu": _cpu_name(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        },
        "commit": _commit(),
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())


@functools.cache  # the code that runs is that of the start, whatever is committed while it runs
def _commit() -> str | None:
    root = Path(__file__).parents[3]
    if not (root / "src" / "idinit_suite").is_dir():  # installed: a repository around it would not be its own
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changes = _git(root, "status", "--porcelain", "--", "src", "configs", "scripts")
    except (OSError, subprocess.CalledProcessError):
        return None  # a download without its repository, or no git
    return commit + ("-dirty" if changes else "")


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


_commit()
