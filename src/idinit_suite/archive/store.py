"""``results/<experiment>/``: the committed archive of an experiment, from which everything in it can be made again.

``runs.csv`` has one row a run, other CSV files what the runs measured, ``environments.json`` where they took place. A table
without rows has no file. Order and number format are fixed, so that writing what was read gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from idinit.errors import UsageError

from ..atomic import write_atomically, write_json
from ..errors import first_line
from .run_record import RunRecord, read_status

Columns = Mapping[str, str]  # name -> dtype


@dataclass(frozen=True)
class Archive:
    """The content of ``results/<experiment>/``.

    Attributes:
        runs: One row a run; accuracies are fractions, times seconds, NaN where there is no value.
        tables: Name -> what the runs measured; each row names its run's hash.
        environments: Key -> versions, hardware, commit and data checksum of the runs that name the key.
    """

    runs: pd.DataFrame
    tables: dict[str, pd.DataFrame]
    environments: dict[str, dict[str, Any]]

    @property
    def curves(self) -> pd.DataFrame:
        """The metrics of trainings over time; at most 200 train rows a run."""
        return self.tables["curves"]

    @property
    def layers(self) -> pd.DataFrame:
        """The statistics of layers of those trainings that measured them; see `archive.layers`."""
        return self.tables["layers"]


@dataclass(frozen=True)
class Store:
    """The archives of one kind of run: trainings, or studies.

    Attributes:
        columns: Those of ``runs.csv``; ``hash`` and ``environment`` are among them.
        config: The one that holds a run's configuration, as JSON.
        hash_today: Such a configuration -> the hash that the same run has now, which differs where options have been added
            since; None where no run of today can be the same.
        read: Reads a run folder; None if the run has neither finished nor diverged.
        sort_runs: Puts ``runs.csv`` in order.
        sort_table: Puts another table in order.
        digits: Significant digits of numbers.
        tables: The other tables; None for those that the runs have.
        added: Columns of ``runs.csv`` that older archives lack.
    """

    columns: Columns
    config: str
    hash_today: Callable[[str], str | None]
    read: Callable[[Path], RunRecord | None]
    sort_runs: Callable[[pd.DataFrame], pd.DataFrame]
    sort_table: Callable[[pd.DataFrame], pd.DataFrame]
    digits: int
    tables: Mapping[str, Columns] | None = None
    added: frozenset[str] = field(default_factory=frozenset)

    def load(self, results_dir: Path) -> Archive:
        """Reads an archive; one that does not exist yet is empty. Hashes are those that the runs would have today.

        Args:
            results_dir: ``results/<experiment>``.

        Raises:
            UsageError: If a file of it is damaged.
        """
        file = results_dir / "environments.json"
        try:
            environments = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        except ValueError as error:
            raise damaged(file, error) from error
        runs = self._read_runs(results_dir)
        if self.tables is None:
            files = [file for file in sorted(results_dir.glob("*.csv")) if file.stem != "runs"] if len(runs) else []
            tables = {file.stem: _read(file) for file in files}
        else:
            tables = {name: _read(results_dir / f"{name}.csv", columns) for name, columns in self.tables.items()}
        hashes = self._hashes_today(runs)
        for table in (runs, *tables.values()):
            table["hash"] = table["hash"].map(hashes).astype("string")
        return Archive(runs, tables, environments)

    def archived(self, results_dir: Path) -> set[str]:
        """Hashes of the runs in an archive: they count as done, even where their folders are gone.

        Raises:
            UsageError: If the archive is damaged.
        """
        return set(self._hashes_today(self._read_runs(results_dir)).values())

    def merge(self, run_dirs: Iterable[Path], results_dir: Path, experiment: str | None = None) -> set[str]:
        """Adds the finished and the diverged among some runs to an archive.

        A run that is there already is replaced, or skipped where its folder holds nothing new; no other row changes.
        Safe against a crash and against others who merge at the same time.

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
        runs = self._read_runs(results_dir)
        _require_experiment(experiment, runs.get("experiment", ()), results_dir)
        known = set(map(_outcome, runs.to_dict("records")))
        merged, records = set(), {}
        for folder in run_dirs:
            status = read_status(folder)
            if status is not None and _outcome(status) in known:
                merged.add(str(status["hash"]))
            elif (record := self.read(folder)) is not None:
                records[str(record.row["hash"])] = record
        _require_experiment(experiment, (record.experiment for record in records.values()), results_dir)
        if records:
            results_dir.mkdir(parents=True, exist_ok=True)
            with FileLock(results_dir / ".lock"):
                self._save(self._merged(self.load(results_dir), records), results_dir)
        return merged | set(records)

    def _merged(self, old: Archive, new: Mapping[str, RunRecord]) -> Archive:
        rows = pd.DataFrame([record.row for record in new.values()])[list(self.columns)].astype(dict(self.columns))
        runs = self.sort_runs(_stacked(old.runs, [rows], new))
        tables = {}
        for name in sorted({*old.tables, *(name for record in new.values() for name in record.tables)}):
            found = [record.tables[name] for record in new.values() if name in record.tables]
            tables[name] = self.sort_table(_stacked(old.tables.get(name), found, new))
        environments = old.environments | {record.row["environment"]: record.environment for record in new.values()}
        return Archive(runs, tables, {key: environments[key] for key in sorted(set(runs["environment"]))})

    def _save(self, archive: Archive, results_dir: Path) -> None:
        # runs.csv comes last: a run that is listed there has all the rest in place
        write_json(results_dir / "environments.json", archive.environments, indent=2, sort_keys=True, ensure_ascii=False)
        for name, table in (*archive.tables.items(), ("runs", archive.runs)):
            if table.empty:
                (results_dir / f"{name}.csv").unlink(missing_ok=True)
                continue
            text = table.to_csv(index=False, float_format=f"%.{self.digits}g", lineterminator="\n")
            write_atomically(results_dir / f"{name}.csv", text.encode())

    def _read_runs(self, results_dir: Path) -> pd.DataFrame:
        return _read(results_dir / "runs.csv", self.columns, self.added)

    def _hashes_today(self, runs: pd.DataFrame) -> dict[str, str]:
        return {run: self.hash_today(config) or run for run, config in zip(runs["hash"], runs[self.config], strict=True)}


def _outcome(run: Mapping[Any, Any]) -> tuple[str, ...]:
    """Identifies one training of a run among others of the same run, whose times are never equal."""
    return str(run["hash"]), str(run.get("state")), str(run.get("step")), f"{run['time_s']:.6g}"


def _require_experiment(name: str | None, found: Iterable[str], results_dir: Path) -> None:
    """Makes sure that runs belong to the experiment under whose head they would be written."""
    others = sorted(set(found) - {name})
    if name is not None and others:
        raise UsageError(f"results of '{name}' cannot go to {results_dir}, where runs are of {', '.join(others)}")


def _stacked(old: pd.DataFrame | None, new: Iterable[pd.DataFrame], replaced: Iterable[str]) -> pd.DataFrame:
    kept = pd.DataFrame() if old is None else old[~old["hash"].isin(list(replaced))]
    parts = [part for part in (kept, *new) if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else kept


def _read(file: Path, columns: Columns | None = None, added: Iterable[str] = ()) -> pd.DataFrame:
    if columns is not None and not file.exists():
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()})
    # a variant may be called "none": only an empty cell is a missing value; hashes such as 12e45678 look like numbers
    settings: dict[str, Any] = {"keep_default_na": False, "na_values": [""], "encoding": "utf-8"}
    try:
        if columns is None:
            table: pd.DataFrame = pd.read_csv(file, dtype={"hash": "string"}, **settings)
            return table
        table = pd.read_csv(file, dtype=dict(columns), usecols=lambda name: name in columns, **settings)
        if missing := columns.keys() - table.columns - set(added):
            raise ValueError(f"no column {', '.join(sorted(missing))}")
    except ValueError as error:
        raise damaged(file, error) from error
    return table.reindex(columns=list(columns)).astype(dict(columns))


def damaged(file: Path, error: Exception) -> UsageError:
    """The error of a file of an archive that cannot be read."""
    problem = first_line(error)
    return UsageError(
        f"'{file.name}' of the archive '{file.parent.name}' is damaged ({problem}): restore it from version control"
    )
