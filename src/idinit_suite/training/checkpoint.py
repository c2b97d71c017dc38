"""Checkpoints: written whole or not at all, verified when read, the previous one kept.

A file is named ``step-<step>-<checksum>.pt``; the name holds the first 16 hexadecimal digits of the content's SHA-256, so
content and checksum appear in one rename. ``torch.load`` reads it; nothing in it is unpickled but tensors and plain values.
"""

from __future__ import annotations

import hashlib
import io
import logging
import re
from pathlib import Path
from typing import Any

import torch

from ..atomic import write_atomically

MOST_STEPS = 999_999_999  # nine digits

log = logging.getLogger(__name__)
_NAME = re.compile(r"step-(\d{9})-([0-9a-f]{16})\.pt")


def save(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Writes ``state`` and keeps the one before it; what is older, or damaged and of a later step, is deleted.

    Args:
        folder: Where checkpoints are kept; made if missing.
        step: Number of finished steps, at most nine digits.
        state: Tensors, numbers, strings, lists and dicts of them.

    Returns:
        The file.

    Raises:
        OSError: If the disk is full or read-only; what was there before is untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(_canonical(state, {}), buffer)
    content = buffer.getvalue()
    path = folder / f"step-{step:09d}-{_digest(content)}.pt"
    write_atomically(path, content)
    others = [other for other in _newest_first(folder) if other != path]
    earlier = [other for other in others if int(_match(other).group(1)) <= step]
    for other in set(others) - set(earlier[:1]):
        other.unlink(missing_ok=True)
    return path


def _canonical(value: Any, known: dict[str, str]) -> Any:
    """The same value in containers of its own: pickle writes twice what is equal, and once what is the same object.

    A state that was loaded shares other objects than one that was not, and would be other bytes.
    """
    if isinstance(value, str):
        return known.setdefault(value, value)
    if isinstance(value, dict):
        copy = type(value)((_canonical(key, known), _canonical(item, known)) for key, item in value.items())
        for name, item in vars(value).items() if hasattr(value, "__dict__") else ():
            setattr(copy, name, _canonical(item, known))  # the versions of modules, on the state of a network
        return copy
    if isinstance(value, list | tuple):
        return type(value)(_canonical(item, known) for item in value)
    return value


def load_latest(folder: Path) -> dict[str, Any] | None:
    """The newest intact checkpoint's state on the CPU, or None where there is none.

    A file that was cut short or altered is passed over with a warning in the log.
    """
    for path in _newest_first(folder):
        content = path.read_bytes()
        if _digest(content) == _match(path).group(2):
            state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            return state
        log.warning("checkpoint %s is damaged (its checksum differs): falling back to the previous one", path.name)
    return None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _match(path: Path) -> re.Match[str]:
    match = _NAME.fullmatch(path.name)
    assert match
    return match


def _newest_first(folder: Path) -> list[Path]:
    found = [p for p in folder.glob("step-*.pt") if _NAME.fullmatch(p.name)] if folder.is_dir() else []
    return sorted(found, key=lambda p: (int(_match(p).group(1)), p.stat().st_mtime), reverse=True)
