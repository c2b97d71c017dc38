"""Decoded arrays on disk: one file, verified by checksum, replaced as a whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..atomic import write_atomically

logger = logging.getLogger(__name__)

Content = tuple[dict[str, Tensor], dict[str, Any]]  # arrays, facts about them


class Corrupt(Exception):
    """The file is not what was written."""


def folder(root: Path) -> Path:
    """The folder of decoded data: beside the data, or in the user's cache where the data root is read-only."""
    if is_writable(root):
        return root / ".cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "idinit"


def is_writable(path: Path) -> bool:
    """Whether files may be made in a folder, or in the nearest one above it where it does not exist yet."""
    while not path.exists():
        path = path.parent
    # Root may write anywhere; a folder that is marked read-only is left alone all the same.
    return os.access(path, os.W_OK) and bool(path.stat().st_mode & 0o222)


def checksum(arrays: Mapping[str, Tensor]) -> str:
    """SHA-256 in hex over names, shapes and values, in the order of the names."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name}{tuple(array.shape)}{array.dtype}".encode())
        digest.update(array.contiguous().numpy().data)
    return digest.hexdigest()


def key(files: Iterable[Path], root: Path | None = None, **options: object) -> str:
    """Twelve hexadecimal digits that change when a file does, or an option of what reads them.

    Args:
        files: The files; a file counts as changed when its name, its size or its time is another.
        root: Names are paths below this folder; None for the last part of a path alone.
        **options: What else the decoded arrays depend on, as values that survive JSON.
    """
    facts = [
        (path.relative_to(root).as_posix() if root else path.name, stat.st_size, stat.st_mtime_ns)
        for path in files
        for stat in [path.stat()]
    ]
    return hashlib.sha256(json.dumps([facts, options], sort_keys=True).encode()).hexdigest()[:12]


def cached(path: Path, build: Callable[[], Content]) -> Content:
    """Loads what an earlier call has kept in a file, or builds and keeps it.

    A file that is damaged is built again, with a warning in the log. Where the file cannot be written, what was built
    is returned all the same. Of several processes one builds and the others wait for it.

    Args:
        path: The file.
        build: Makes the arrays and the facts about them, which must survive JSON.

    Returns:
        The arrays and the facts, to which ``checksum`` of the arrays is added.
    """
    with contextlib.suppress(FileNotFoundError, Corrupt):
        return _load(path)
    with lock(path):
        try:
            return _load(path)  # built by another process while this one waited
        except FileNotFoundError:
            pass
        except Corrupt as error:
            logger.warning("%s is damaged (%s): decoding the data again", path, error)
        arrays, facts = build()
        facts = {**facts, "checksum": checksum(arrays)}
        text = json.dumps(facts)
        keep(path, save(arrays, {"facts": text, "seal": _seal(text)}))
    return arrays, facts


def lock(path: Path) -> contextlib.AbstractContextManager[object]:
    """A lock on the file, or nothing where none can be made: then nothing can be written either."""
    with contextlib.suppress(OSError):
        if is_writable(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            return FileLock(f"{path}.lock").acquire()
    return contextlib.nullcontext()


def keep(path: Path, content: bytes) -> None:
    """Writes a file whose folder `lock` has made; where it cannot be written, the log says so and that is all."""
    try:
        write_atomically(path, content)
    except OSError as error:
        logger.warning("cannot keep %s (%s): it is made anew each time", path, error.strerror)


def _load(path: Path) -> Content:
    try:
        with safe_open(path, framework="pt") as file:
            facts_text, seal = file.metadata()["facts"], file.metadata()["seal"]
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, TypeError, KeyError) as error:
        raise Corrupt(str(error)) from None
    if _seal(facts_text) != seal:
        raise Corrupt("checksum of its facts differs")
    facts = json.loads(facts_text)
    if checksum(arrays) != facts["checksum"]:
        raise Corrupt("checksum of its arrays differs")
    return arrays, facts


def _seal(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
