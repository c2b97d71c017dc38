"""What systems and editors hide beside data: ``._x.jpg``, ``.ipynb_checkpoints/x.jpg``."""

from __future__ import annotations

import re
from pathlib import Path

_HIDDEN = re.compile(r"(?:^|[/\\])\.(?![./\\])")  # a part of a path that begins with a dot


def is_hidden(path: str | Path) -> bool:
    """Whether a part of a path begins with a dot; the path is relative to the folder that was named."""
    return _HIDDEN.search(str(path)) is not None


def visible(folder: Path, pattern: str = "*") -> list[Path]:
    """What matches a pattern in a folder and is not hidden, sorted; none if there is no such folder."""
    return sorted(path for path in folder.glob(pattern) if not is_hidden(path.name))
