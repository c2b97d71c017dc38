"""``results/<experiment>/``: the committed archive of an experiment, from which everything in it can be made again.

``runs.csv`` has one row a run, ``curves.csv`` the metrics over time, ``environments.json`` where the runs took place.
Order and number format are fixed, so that writing what was read gives the same bytes.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from idinit.errors import UsageError

from ..atomic import write_atomically
from ..config import hash_of_stored
from ..statistics.estimates import THRESHOLDS
from .run_record import SPLITS, RunRecord, read_run, read_status

RUN_COLUMNS = {
    **dict.fromkeys(["hash", "experiment", "arm", "init", "data", "phase"], "string"),
    "seed": "Int64",
    **dict.fromkeys(["budget", "state"], "string"),
    **dict.fromkeys(["step", "steps"], "Int64"),
    **dict.fromkeys(["epoch", "epochs", "lr"], "float64"),
    **dict.fromkeys([f"{split}_{metric}" for split in SPLITS for metric in ("loss", "accuracy")], "float64"),
    **dict.fromkeys(["best_test_accuracy", "best_test_epoch"], "float64"),
    **dict.fromkeys([f"epochs_to_{percent}" for percent in THRESHOLDS], "float64"),
    **dict.fromkeys(["time_s", "samples_per_s", "tokens", "flops"], "float64"),
    **dict.fromkeys(["environment", "config"], "string"),
}
_ADDED = ("tokens", "flops")  # columns that older archives lack
CURVE_COLUMNS = {
    "hash": "string",
    "step": "Int64",
    "epoch": "float64",
    "split": "string",
    **dict.fromkeys(["loss", "accuracy", "lr"], "float64"),
}


@dataclass(frozen=True)
class Archive:
    """What ``results/<experiment>/`` holds.

    Attributes:
        runs: One row a run, with ``RUN_COLUMNS``; accuracies are fractions, times seconds, NaN where there is no value.
        curves: The runs' metrics over time, with ``CURVE_COLUMNS``; at most 200 train rows a run.
        environments: Key -> versions, hardware, commit and data checksum of the runs that name the key.
    """

    runs: pd.DataFrame
    curves: pd.DataFrame
    environments: dict[str, dict[str, Any]]


def folders(results: Path) -> list[Path]:
    """The folders in ``results`` that are archives of runs; those of studies and of benchmarks hold other tables."""
    return [file.parent for file in sorted(results.glob("*/runs.csv")) if _holds_runs(file)]


def _holds_runs(file: Path) -> bool:
    with file.open(encoding="utf-8") as lines:
        return {"init", "seed", "state"} <= set(lines.readline().strip().split(","))


def load(results_dir: Path) -> Archive:
    """Reads an archive; one that does not exist yet is empty.

    Args:
        results_dir: ``results/<experiment>``.

    Raises:
        UsageError: If a file of it is damaged.
    """
    environments_file = results_dir / "environments.json"
    try:
        environments = json.loads(environments_file.read_text(encoding="utf-8")) if environments_file.exists() else {}
    except ValueError as error:
        raise damaged(environments_file, error) from error
    runs, curves = _read(results_dir / "runs.csv", RUN_COLUMNS), _read(results_dir / "curves.csv", CURVE_COLUMNS)
    hashes = _hashes_today(runs)
    for table in (runs, curves):
        table["hash"] = table["hash"].map(hashes).astype("string")
    return Archive(runs, curves, environments)


def archived(results_dir: Path) -> set[str]:
    """Hashes of the runs in an archive: they count as done, even where their folders are gone.

    Raises:
        UsageError: If the archive is damaged.
    """
    return set(_hashes_today(_read(results_dir / "runs.csv", RUN_COLUMNS)).values())


def merge(run_dirs: Iterable[Path], results_dir: Path, experiment: str | None = None) -> set[str]:
    """Adds the finished and the diverged among some runs to an archive.

    A run that is there already is replaced, or passed over where its folder says what is known; no other row changes. Safe
    against a crash and against others who merge at the same time.

    Args:
        run_dirs: Run folders, in any state.
        results_dir: ``results/<experiment>``; made if missing.
        experiment: Whose runs all of them, and those in the archive, must be; None for any.

    Returns:
        Hashes of the finished and the diverged among the runs.

    Raises:
        UsageError: If a finished run's folder or the archive is damaged, or they are of another experiment.
        OSError: If the archive cannot be written; each of its files is then whole, and no run in it is lost.
    """
    rows = _read(results_dir / "runs.csv", RUN_COLUMNS)
    _require_experiment(experiment, rows["experiment"], results_dir)
    known = {_outcome(row) for row in rows[["hash", "state", "step", "time_s"]].to_dict("records")}
    merged, records = set(), {}
    for folder in run_dirs:
        status = read_status(folder)
        if status is not None and _outcome(status) in known:
            merged.add(str(status["hash"]))
        elif (record := read_run(folder)) is not None:
            records[record.row["hash"]] = record
    _require_experiment(experiment, (record.row["experiment"] for record in records.values()), results_dir)
    if records:
        results_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(results_dir / ".lock"):
            _save(_merged(load(results_dir), records), results_dir)
    return merged | set(records)


def _require_experiment(name: str | None, found: Iterable[str], results_dir: Path) -> None:
    """Makes sure that runs belong to the experiment under whose head they would be written."""
    others = sorted(set(found) - {name})
    if name is not None and others:
        raise UsageError(f"results of '{name}' cannot go to {results_dir}, where runs are of {', '.join(others)}")


def _outcome(run: Mapping[Any, Any]) -> tuple[str, ...]:
    """What tells one training from another of the same run; the time that it took is never twice the same."""
    return str(run["hash"]), str(run["state"]), str(run["step"]), f"{run['time_s']:.6g}"


def _merged(old: Archive, new: dict[str, RunRecord]) -> Archive:
    rows = pd.DataFrame([record.row for record in new.values()]).astype(RUN_COLUMNS)
    runs = _stacked(old.runs, rows, new)
    curves = _stacked(old.curves, pd.concat([r.curve for r in new.values()]).astype(CURVE_COLUMNS), new)
    environments = old.environments | {r.row["environment"]: r.environment for r in new.values()}
    return Archive(
        runs.sort_values(["phase", "budget", "arm", "lr", "seed", "hash"], kind="stable"),
        curves.sort_values(["hash", "step", "split"], kind="stable", key=_split_rank),
        {key: environments[key] for key in sorted(set(runs["environment"]))},
    )


def _stacked(old: pd.DataFrame, new: pd.DataFrame, replaced: Iterable[str]) -> pd.DataFrame:
    kept: pd.DataFrame = old[~old["hash"].isin(list(replaced))]
    new = new[list(old.columns)]
    return pd.concat([kept, new], ignore_index=True) if len(kept) else new


def _split_rank(column: pd.Series) -> pd.Series:
    """Sorts the splits of one step in the order of ``SPLITS``."""
    return column.map(SPLITS.index) if column.name == "split" else column


def _save(archive: Archive, results_dir: Path) -> None:
    # runs.csv comes last: a run that is listed there has all the rest in place
    environments = json.dumps(archive.environments, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    write_atomically(results_dir / "environments.json", environments.encode())
    for name, table in (("curves.csv", archive.curves), ("runs.csv", archive.runs)):
        text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
        write_atomically(results_dir / name, text.encode())


def _read(file: Path, columns: dict[str, str]) -> pd.DataFrame:
    if not file.exists():
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()})
    try:
        # a variant may be called "none": only an empty cell is a missing value
        table: pd.DataFrame = pd.read_csv(
            file, dtype=columns, usecols=lambda name: name in columns, keep_default_na=False, na_values=[""], encoding="utf-8"
        )
        if missing := columns.keys() - table.columns - set(_ADDED):
            raise ValueError(f"no column {', '.join(sorted(missing))}")
    except ValueError as error:
        raise damaged(file, error) from error
    return table.reindex(columns=list(columns)).astype(columns)


def _hashes_today(runs: pd.DataFrame) -> dict[str, str]:
    """Archived hash -> the one that the same run has now, which differs where options have been added since."""
    return {run: _hash_today(config) or run for run, config in zip(runs["hash"], runs["config"], strict=True)}


@functools.cache
def _hash_today(config: str) -> str | None:
    return hash_of_stored(json.loads(config))


def damaged(file: Path, error: Exception) -> UsageError:
    """What to say of a file of an archive that cannot be read."""
    problem = str(error).splitlines()[0]
    return UsageError(
        f"'{file.name}' of the archive '{file.parent.name}' is damaged ({problem}): restore it from version control"
    )
