"""Writing a file so that a reader, or a crash, never meets half of it; and reading what was written."""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

_UMASK = os.umask(0o077)  # which can only be read by setting it
os.umask(_UMASK)


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces ``path`` in one step: temporary file in the same folder, fsync, rename.

    Args:
        path: The file to write; its folder must exist.
        content: All of its bytes.

    Raises:
        OSError: If the folder is read-only or the disk is full. What was at ``path`` is then still there, unharmed.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_UMASK)  # mkstemp leaves it readable by its owner only
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any, **options: Any) -> None:
    """Replaces a JSON file in one step; the options are those of `json.dumps`."""
    write_atomically(path, (json.dumps(value, **options) + "\n").encode())


def read_json(path: Path) -> Any:
    """The content of a JSON file; None where it is not there or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    """Replaces a CSV file in one step; its folder is made if missing."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.getvalue().encode())


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
