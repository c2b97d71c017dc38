"""One run folder -> its row of ``runs.csv``, its rows of other tables and its environment."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pandas as pd
import yaml

from idinit.errors import UsageError

from ..config import hash_of_stored
from ..errors import first_line
from ..statistics.estimates import THRESHOLDS, first_epoch
from ..training.run_folder import FINISHED, read_metrics
from . import layers

SPLITS = ("train", "validation", "test")
METRICS = ["step", "epoch", "split", "loss", "accuracy", "lr", "samples_per_s"]
FURTHER_METRICS = ("top5_accuracy", "ema_accuracy")  # that some runs have on the test split
CURVE_COLUMNS = {
    "hash": "string",
    "step": "Int64",
    "epoch": "float64",
    "split": "string",
    **dict.fromkeys(["loss", "accuracy", "lr"], "float64"),
}
TRAIN_ROWS = 200  # rows of a run's train curve that are kept at most; evaluations are all kept

_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast where libyaml is there
_LOCAL = ("paths", "wandb", "diagnostics", "launcher")  # where and how it was run, not what: left out of the archived config


@dataclass(frozen=True)
class RunRecord:
    """All that the archive keeps of a run.

    Attributes:
        experiment: The experiment that it belongs to.
        row: Values of its row of ``runs.csv``, by column.
        tables: Name -> its rows of that table, with its ``hash``.
        environment: Its ``env.json`` without paths.
    """

    experiment: str
    row: dict[str, Any]
    tables: dict[str, pd.DataFrame]
    environment: dict[str, Any]


@dataclass(frozen=True)
class Folder:
    """The content of a finished run's folder: status, configuration, environment without paths, and metrics."""

    status: dict[str, Any]
    config: dict[str, Any]
    environment: dict[str, Any]
    rows: list[dict[str, Any]]


def read_folder(folder: Path, record: Callable[[Folder], RunRecord]) -> RunRecord | None:
    """Reads a run folder.

    Args:
        folder: The folder.
        record: Makes the record of what its files say.

    Returns:
        The record, or None if the run has neither finished nor diverged.

    Raises:
        UsageError: If a file of a finished run is missing or damaged.
    """
    status = read_status(folder)
    if status is None:
        return None
    try:
        config = yaml.load((folder / "config.yaml").read_text(encoding="utf-8"), Loader=_YAML)
        if not isinstance(config, dict):
            raise ValueError("config.yaml has no keys")
        environment = without_paths(json.loads((folder / "env.json").read_text(encoding="utf-8")))
        return record(Folder(status, config, environment, read_metrics(folder / "metrics.jsonl")))
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise _damaged(folder, error) from error


def read_run(folder: Path) -> RunRecord | None:
    """Reads the run folder of a training, as `read_folder`."""
    return read_folder(folder, _training)


def _training(folder: Folder) -> RunRecord:
    rows = [row for row in folder.rows if row["split"] in SPLITS]
    if not rows and folder.status["state"] == "done":  # one that diverges at once has none
        raise ValueError("metrics.jsonl is empty")
    metrics = pd.DataFrame(rows, columns=METRICS)
    run = hash_of_stored(folder.config) or folder.status["hash"]
    row = _row(run, folder.status, folder.config, metrics, folder.environment)
    tables = {"curves": _curve(run, metrics), "layers": layers.to_table(run, layers.measurements(folder.rows))}
    return RunRecord(folder.config["experiment"], row, tables, folder.environment)


def _damaged(folder: Path, error: Exception) -> UsageError:
    problem = f"no {error}" if isinstance(error, KeyError) else first_line(error).replace(f"{folder}/", "")
    return UsageError(f"run folder '{folder.name}' is damaged ({problem}): delete it and run the same command again")


def read_status(folder: Path) -> dict[str, Any] | None:
    """The ``status.json`` of a run that has finished or diverged; None of any other.

    Raises:
        UsageError: If it is damaged.
    """
    try:
        status: dict[str, Any] = json.loads((folder / "status.json").read_text(encoding="utf-8"))
        if status["state"] not in FINISHED:
            return None
        if lacking := {"hash", "time_s"} - status.keys():
            raise ValueError(f"status.json lacks {', '.join(sorted(lacking))}")
        return status
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, error) from error


def environment_key(environment: dict[str, Any]) -> str:
    """A short name for an environment: the first 8 hex digits of the SHA-256 of its content."""
    return hashlib.sha256(compact(environment).encode()).hexdigest()[:8]


def compact(value: Any) -> str:
    """``value`` as JSON without spaces, keys sorted: equal contents give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _row(
    run: str, status: dict[str, Any], config: dict[str, Any], metrics: pd.DataFrame, environment: dict[str, Any]
) -> dict[str, Any]:
    split = {name: metrics[metrics["split"] == name] for name in SPLITS}
    final = status.get("final") or {}
    row = {
        "hash": run,
        "experiment": config["experiment"],
        "arm": config["arm"],
        "init": config["init"]["name"],
        "data": environment["data_source"],
        "phase": config["phase"],
        "seed": config["seed"],
        "budget": config["budget"],
        "state": status["state"],
        "step": status["step"],
        "steps": status["steps"],
        "epoch": status["epoch"],
        "epochs": config["train"]["epochs"],
        "lr": config["optim"]["lr"],
    }
    for name in SPLITS:
        for metric in ("loss", "accuracy"):
            row[f"{name}_{metric}"] = _number((final.get(name) or {}).get(metric))
    for metric in FURTHER_METRICS:
        row[f"test_{metric}"] = _number((final.get("test") or {}).get(metric))
    best = split["test"]["accuracy"].astype(float).idxmax() if split["test"]["accuracy"].notna().any() else None
    row["best_test_accuracy"] = math.nan if best is None else metrics.loc[best, "accuracy"]
    row["best_test_epoch"] = math.nan if best is None else metrics.loc[best, "epoch"]
    evaluations = split["validation"].astype({"accuracy": float, "epoch": float})
    for percent in THRESHOLDS:
        reached = first_epoch(evaluations["epoch"].tolist(), evaluations["accuracy"].tolist(), percent)
        row[f"epochs_to_{percent}"] = reached
    row["time_s"] = status["time_s"]
    row["tokens"], row["flops"] = (_number(status.get(key)) for key in ("tokens", "flops"))
    row["samples_per_s"] = split["train"]["samples_per_s"].astype(float).median()
    row["environment"] = environment_key(environment)
    row["config"] = compact({key: value for key, value in config.items() if key not in _LOCAL})
    return row


def _curve(run: str, metrics: pd.DataFrame) -> pd.DataFrame:
    """The run's rows, the train rows averaged in groups of equal size so that at most ``TRAIN_ROWS`` remain.

    A train row is a mean since the row before it, and so is a group's mean; its step, epoch and learning rate are those
    of the group's last row. A group with a non-finite loss has none.
    """
    columns = ["step", "epoch", "split", "loss", "accuracy", "lr"]
    metrics = metrics[columns].astype(dict.fromkeys(["epoch", "loss", "accuracy", "lr"], float))
    train = _without_remainder(metrics[metrics["split"] == "train"].reset_index(drop=True))
    group = train.index // max(1, math.ceil(len(train) / TRAIN_ROWS))
    thinned = train.groupby(group).tail(1).copy()
    for metric in ("loss", "accuracy"):
        groups = train[metric].groupby(group)
        thinned[metric] = groups.mean().where(groups.count() == groups.size()).to_numpy()
    curve: pd.DataFrame = pd.concat([thinned, metrics[metrics["split"] != "train"]], ignore_index=True)
    curve.insert(0, "hash", run)
    return curve.astype(CURVE_COLUMNS)


def _without_remainder(train: pd.DataFrame) -> pd.DataFrame:
    """Joins a last row of few steps, the rest of the run's length, to the row before: alone it is a noisy mean."""
    spans = train["step"].diff()
    if len(train) < 3 or 2 * spans.iloc[-1] > spans.iloc[-2]:
        return train
    share = spans.iloc[-1] / (spans.iloc[-1] + spans.iloc[-2])
    joined = train.drop(index=train.index[-2]).reset_index(drop=True)
    for metric in ("loss", "accuracy"):
        joined.loc[len(joined) - 1, metric] = share * train[metric].iloc[-1] + (1 - share) * train[metric].iloc[-2]
    return joined


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def without_paths(value: Any) -> Any:
    """An environment without what is local to the machine: values that are absolute paths."""
    if isinstance(value, dict):
        return {key: without_paths(item) for key, item in value.items() if not _is_path(item)}
    if isinstance(value, list):
        return [without_paths(item) for item in value if not _is_path(item)]
    return value


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and (PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute())
