"""Checks each network in a process of its own, and keeps a row of each."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterable
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path
from typing import Any

from idinit.errors import UsageError, nearest

from ..atomic import read_csv, write_csv
from ..training.progress import console
from .families import Case, list_cases
from .worker import work

Row = dict[str, str]
COLUMNS = (
    *("source", "family", "model", "library", "status", "parameters", "weights", "parts", "unknown", "left_alone", "branches"),
    *("largest", "largest_before_norm", "late", "dead", "seconds", "memory_mb", "problems", "alarms", "findings"),
    *("labels", "labels_wrong", "mislabelled"),
)
_NOTHING = dict.fromkeys(COLUMNS, "")  # for columns that an older file lacks
# Changes of these are reported: a network that loses a branch passes all the same.
_EXPECTED_SAME = ("parts", "branches", "late", "dead", "alarms", "labels_wrong")
TIMEOUT = 300.0  # seconds
_LIBRARIES = {"timm": "timm", "torchvision": "torchvision", "hf": "transformers"}


def read_rows(path: Path) -> dict[str, Row]:
    """The rows of a coverage.csv, by the case's name; none where there is no file."""
    return {f"{row['source']}:{row['family']}": {**_NOTHING, **row} for row in read_csv(path)}


def run(path: Path, patterns: Iterable[str] = (), *, force: bool = False) -> dict[str, Row]:
    """Checks the networks that have no row yet, one at a time, and writes each row as soon as it is there.

    Args:
        path: The coverage.csv to complete; its folder is made if missing.
        patterns: Shell patterns of names such as ``timm:res*``; none means all.
        force: Check networks again that have a row.

    Returns:
        All rows, by name, in the order of `list_cases`.

    Raises:
        UsageError: If a pattern matches nothing.
    """
    cases = {case.name: case for case in list_cases()}
    patterns = tuple(patterns)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in cases):
            raise UsageError(f"'{pattern}' matches no network: {nearest(pattern, cases) or 'timm:*, torchvision:*, hf:*'}")
    wanted = [name for name in cases if not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)]
    rows = read_rows(path)
    todo = [name for name in wanted if force or name not in rows]
    if not todo:
        console.print("each network has been checked; --force (make coverage FORCE=1) checks them again", soft_wrap=True)
    for number, name in enumerate(todo, start=1):
        before, rows[name] = rows.get(name), _row(cases[name], checked(cases[name]))
        rows = {known: rows[known] for known in cases if known in rows}
        write_csv(path, COLUMNS, rows.values())
        console.print(f"{number}/{len(todo)}  {name}  {_news(rows[name], before)}", soft_wrap=True)
    return rows


def checked(case: Case) -> dict[str, Any]:
    """Checks a network in a process of its own.

    Returns:
        What `check` found; of a process that died or took too long, the problem.
    """
    processes = multiprocessing.get_context("forkserver")  # forks of a process that has imported all there is to import
    processes.set_forkserver_preload(["idinit_suite.cli", "idinit_suite.coverage.page", "idinit_suite.coverage.worker"])
    receiver, sender = processes.Pipe(duplex=False)
    process = processes.Process(target=work, args=(case, sender))
    process.start()
    sender.close()
    try:
        if not receiver.poll(TIMEOUT):
            return {"problems": f"took longer than {TIMEOUT:g} s"}
        return receiver.recv()
    except EOFError:
        process.join()
        code = process.exitcode or 0
        return {"problems": f"the process died ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"}
    finally:
        process.kill()
        process.join()


def _row(case: Case, found: dict[str, Any]) -> Row:
    library = _LIBRARIES[case.source]
    row = {
        "source": case.source,
        "family": case.family,
        "model": case.model,
        "library": f"{library} {version(library)}, torch {version('torch')}",
        "status": "failed" if found["problems"] else "ok",
        **found,
    }
    return {column: str(row.get(column, "")) for column in COLUMNS}


def _news(row: Row, before: Row | None) -> str:
    news = f"{row['status']}  {row['branches']} branches, {row['late']} late  {row['seconds']} s  {row['problems']}"
    changes = [f"{before[column]} {column}" for column in _EXPECTED_SAME if before and before[column] != row[column]]
    return f"{news}  (before: {', '.join(changes)})" if changes else news
