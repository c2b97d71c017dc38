"""``results/<experiment>/`` of a study: ``runs.csv``, one CSV file for each of its tables, ``environments.json``.

All that the page, the figures and the verdicts need is here; writing what was read gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from filelock import FileLock

from idinit.errors import UsageError

from ..atomic import write_atomically
from ..studies.config import hash_of
from ..training.run_folder import FINISHED, read_metrics
from .run_record import compact, environment_key, without_paths
from .runs import damaged
from .variants import BUDGETS

RUN_COLUMNS = ["hash", "study", "budget", "cells", "time_s", "environment", "options"]
Tables = dict[str, pd.DataFrame]


@dataclass(frozen=True)
class StudyArchive:
    """What ``results/<experiment>/`` holds of a study.

    Attributes:
        runs: One row a run, with ``RUN_COLUMNS``; the largest budget first, then the one with the most cells.
        tables: Name -> the rows of all runs, their ``hash`` first.
        environments: Key -> versions, hardware and commit of the runs that name the key.
    """

    runs: pd.DataFrame
    tables: Tables
    environments: dict[str, dict[str, Any]]

    def of(self, run: str) -> Tables:
        """The tables of one run."""
        own = {name: table[table["hash"] == run].drop(columns=["hash"]) for name, table in self.tables.items()}
        return {name: table.dropna(axis=1, how="all").reset_index(drop=True) for name, table in own.items() if len(table)}


def load(results_dir: Path) -> StudyArchive:
    """Reads an archive; one that does not exist yet is empty. Hashes are those that the runs would have today.

    Raises:
        UsageError: If a file of it is damaged.
    """
    runs = results_dir / "runs.csv"
    if not runs.exists():
        return StudyArchive(pd.DataFrame(columns=RUN_COLUMNS), {}, {})
    file = runs
    try:
        runs_table = _read(runs)[RUN_COLUMNS]
        tables = {}
        for file in sorted(results_dir.glob("*.csv")):
            if file != runs:
                tables[file.stem] = _read(file)
        file = results_dir / "environments.json"
        environments = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, KeyError) as error:
        raise damaged(file, error) from error
    today = {run: _hash_today(run, options) for run, options in zip(runs_table["hash"], runs_table["options"], strict=True)}
    for table in (runs_table, *tables.values()):
        table["hash"] = table["hash"].map(today)
    return StudyArchive(runs_table, tables, environments)


def archived(results_dir: Path) -> set[str]:
    """Hashes of the runs in an archive: they count as done, even where their folders are gone."""
    return set(load(results_dir).runs["hash"])


def merge(run_dirs: Iterable[Path], results_dir: Path) -> set[str]:
    """Adds the finished among some runs of a study to its archive; a run that is there already is replaced.

    Returns:
        Hashes of the runs that were merged.

    Raises:
        UsageError: If a finished run's folder or the archive is damaged.
        OSError: If the archive cannot be written; each of its files is then whole.
    """
    found = [record for record in map(_read_run, run_dirs) if record is not None]
    if found:
        results_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(results_dir / ".lock"):
            archive = load(results_dir)
            for run, tables, environment in found:
                archive = _with(archive, run, tables, environment)
            _save(archive, results_dir)
    return {str(run["hash"]) for run, _, _ in found}


def _read_run(folder: Path) -> tuple[dict[str, Any], Tables, dict[str, Any]] | None:
    """A finished run's row of ``runs.csv``, its tables and its environment."""
    if not (folder / "status.json").exists():
        return None
    try:
        status = json.loads((folder / "status.json").read_text(encoding="utf-8"))
        if status["state"] not in FINISHED:
            return None
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        environment = without_paths(json.loads((folder / "env.json").read_text(encoding="utf-8")))
        rows = read_metrics(folder / "metrics.jsonl")
        tables = {name: pd.DataFrame([row["values"] for row in rows if row["table"] == name]) for name in _names(rows)}
        run = {
            "hash": status["hash"],
            "study": config["study"]["name"],
            "budget": config["budget"],
            "cells": status["steps"],
            "time_s": status["time_s"],
            "environment": environment_key(environment),
            "options": compact(config["study"]),
        }
        return run, tables, environment
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        problem = str(error).replace(f"{folder}/", "").splitlines()[0]
        raise UsageError(
            f"run folder '{folder.name}' is damaged ({problem}): delete it and run the same command again"
        ) from error


def _names(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["table"] for row in rows))


def _with(old: StudyArchive, run: dict[str, Any], new: Tables, environment: dict[str, Any]) -> StudyArchive:
    runs = pd.concat([old.runs[old.runs["hash"] != run["hash"]], pd.DataFrame([run])], ignore_index=True)
    rank = runs["budget"].map(BUDGETS.index)
    runs = runs.assign(rank=rank).sort_values(["rank", "cells", "hash"], ascending=[True, False, True]).drop(columns="rank")
    kept = {name: table[table["hash"] != run["hash"]] for name, table in old.tables.items()}
    tables = {}
    for name in sorted({*kept, *new}):
        parts = [kept.get(name), new[name].assign(hash=run["hash"]) if name in new else None]
        stacked = pd.concat([part for part in parts if part is not None and len(part)], ignore_index=True)
        tables[name] = stacked[["hash", *(column for column in stacked if column != "hash")]].sort_values("hash", kind="stable")
    known = old.environments | {run["environment"]: environment}
    return StudyArchive(runs, tables, {key: known[key] for key in sorted(set(runs["environment"]))})


def _save(archive: StudyArchive, results_dir: Path) -> None:
    # runs.csv comes last: a run that is listed there has all the rest in place
    environments = json.dumps(archive.environments, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    write_atomically(results_dir / "environments.json", environments.encode())
    for name, table in (*archive.tables.items(), ("runs", archive.runs)):
        text = table.to_csv(index=False, float_format="%.5g", lineterminator="\n")
        write_atomically(results_dir / f"{name}.csv", text.encode())


def _read(file: Path) -> pd.DataFrame:
    # a start may be called "none": only an empty cell is a missing value; keys such as 12e45678 look like numbers
    keys = {"hash": str, "environment": str}
    table: pd.DataFrame = pd.read_csv(file, dtype=keys, keep_default_na=False, na_values=[""], encoding="utf-8")
    return table


def _hash_today(run: str, options: str) -> str:
    """The hash with today's defaults for options that are new; the old one where the study no longer has some option."""
    try:
        return hash_of(json.loads(options))
    except UsageError:
        return run
