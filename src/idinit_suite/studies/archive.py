"""The archives of studies: ``runs.csv`` has one row a run, and each of a study's tables a file of its name."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from idinit.errors import UsageError

from ..archive.run_record import Folder, RunRecord, compact, environment_key, read_folder
from ..archive.store import Archive, Store
from ..archive.variants import BUDGETS_LARGEST_FIRST
from .config import hash_of_study

RUN_COLUMNS = {
    **dict.fromkeys(["hash", "study", "budget"], "string"),
    "cells": "Int64",
    "time_s": "float64",
    **dict.fromkeys(["environment", "options"], "string"),
}


def tables_of(archive: Archive, run: str) -> dict[str, pd.DataFrame]:
    """The tables of one run of a study."""
    own = {name: table[table["hash"] == run].drop(columns=["hash"]) for name, table in archive.tables.items()}
    return {name: table.reset_index(drop=True) for name, table in own.items() if len(table)}


def _hash_today(options: str) -> str | None:
    try:
        return hash_of_study(json.loads(options))
    except UsageError:  # the study no longer has some option
        return None


def _read(folder: Path) -> RunRecord | None:
    return read_folder(folder, _record)


def _record(folder: Folder) -> RunRecord:
    run = folder.status["hash"]
    row = {
        "hash": run,
        "study": folder.config["study"]["name"],
        "budget": folder.config["budget"],
        "cells": folder.status["steps"],
        "time_s": folder.status["time_s"],
        "environment": environment_key(folder.environment),
        "options": compact(folder.config["study"]),
    }
    names = dict.fromkeys(measured["table"] for measured in folder.rows)
    tables = {
        name: pd.DataFrame([{"hash": run, **measured["values"]} for measured in folder.rows if measured["table"] == name])
        for name in names
    }
    return RunRecord(folder.config["experiment"], row, tables, folder.environment)


def _largest_first(runs: pd.DataFrame) -> pd.DataFrame:
    """The largest budget first, then the run with the most cells."""
    ranked = runs.assign(rank=runs["budget"].map(BUDGETS_LARGEST_FIRST.index))
    return ranked.sort_values(["rank", "cells", "hash"], ascending=[True, False, True]).drop(columns="rank")


STORE = Store(
    columns=RUN_COLUMNS,
    config="options",
    hash_today=_hash_today,
    read=_read,
    sort_runs=_largest_first,
    sort_table=lambda table: table.sort_values("hash", kind="stable"),
    digits=5,
)
load, archived_studies, merge = STORE.load, STORE.archived, STORE.merge
