"""The archives of trainings: ``runs.csv`` has a row a run, ``curves.csv`` metrics over time, ``layers.csv`` those of layers."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pandas as pd

from ..config import hash_of_stored
from ..statistics.estimates import THRESHOLDS
from . import layers
from .run_record import CURVE_COLUMNS, FURTHER_METRICS, SPLITS, read_run
from .store import Archive, Store

__all__ = ["RUN_COLUMNS", "TRAININGS", "Archive", "archived", "data_of_runs", "folders", "load", "merge"]

RUN_COLUMNS = {
    **dict.fromkeys(["hash", "experiment", "arm", "init", "data", "phase"], "string"),
    "seed": "Int64",
    **dict.fromkeys(["budget", "state"], "string"),
    **dict.fromkeys(["step", "steps"], "Int64"),
    **dict.fromkeys(["epoch", "epochs", "lr"], "float64"),
    **dict.fromkeys([f"{split}_{metric}" for split in SPLITS for metric in ("loss", "accuracy")], "float64"),
    **dict.fromkeys([f"test_{metric}" for metric in FURTHER_METRICS], "float64"),
    **dict.fromkeys(["best_test_accuracy", "best_test_epoch"], "float64"),
    **dict.fromkeys([f"epochs_to_{percent}" for percent in THRESHOLDS], "float64"),
    **dict.fromkeys(["time_s", "samples_per_s", "tokens", "flops"], "float64"),
    **dict.fromkeys(["environment", "config"], "string"),
}


@functools.cache
def _hash_today(config: str) -> str | None:
    return hash_of_stored(json.loads(config))


def data_of_runs(results: Path) -> dict[str, tuple[str, str | None]]:
    """Hash of an archived run -> title of its data and their checksum, None where that was not noted."""
    archive = load(results)
    rows = archive.runs[["hash", "data", "environment"]].itertuples(index=False)
    return {run: (title, archive.environments.get(key, {}).get("data_checksum")) for run, title, key in rows}


def _sorted(table: pd.DataFrame) -> pd.DataFrame:
    """By run and step, the splits of a step in the order of ``SPLITS``, its layers as they are."""
    columns = ["hash", "step", *(["split"] if "split" in table else [])]
    return table.sort_values(columns, kind="stable", key=_split_rank)


def _split_rank(column: pd.Series) -> pd.Series:
    return column.map(SPLITS.index) if column.name == "split" else column


TRAININGS = Store(
    columns=RUN_COLUMNS,
    config="config",
    hash_today=_hash_today,
    read=read_run,
    sort_runs=lambda runs: runs.sort_values(["phase", "budget", "arm", "lr", "seed", "hash"], kind="stable"),
    sort_table=_sorted,
    digits=6,
    tables={"curves": CURVE_COLUMNS, "layers": layers.COLUMNS},
    added=frozenset(["tokens", "flops", *(f"test_{metric}" for metric in FURTHER_METRICS)]),
)
load, archived, merge = TRAININGS.load, TRAININGS.archived, TRAININGS.merge


def folders(results: Path) -> list[Path]:
    """The folders in ``results`` that are archives of runs; those of studies and of benchmarks hold other tables."""
    return [file.parent for file in sorted(results.glob("*/runs.csv")) if _holds_runs(file)]


def _holds_runs(file: Path) -> bool:
    with file.open(encoding="utf-8") as lines:
        return {"init", "seed", "state"} <= set(lines.readline().strip().split(","))
