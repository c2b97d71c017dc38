"""Runs side by side in a terminal: what they have in common, where they differ, their curves in characters."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, TypeVar

import plotext
import yaml
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from idinit.errors import UsageError

from ..archive import runs as archive
from ..archive.layers import from_table
from ..archive.recipe import flatten
from ..archive.run_record import SPLITS
from ..errors import first_line
from ..training.run_folder import FINISHED, STATES, RunFolder, read_metrics

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """A run as it stands, finished or not.

    Attributes:
        name: Name of its folder, or its hash where only the archive has it.
        settings: What its config says, ``{"optim.lr": 0.1, ...}``.
        status: Content of its ``status.json``, or as much of it as the archive holds.
        rows: Its metrics.
        folder: Its folder; None where only the archive has it.
    """

    name: str
    settings: dict[str, Any]
    status: dict[str, Any]
    rows: Sequence[dict[str, Any]]
    folder: Path | None = None

    def last(self, split: str, metric: str) -> float | None:
        """The newest value of a metric, or None."""
        return next((row[metric] for row in reversed(self.rows) if row["split"] == split and row[metric] is not None), None)

    def curve(self, split: str, metric: str) -> tuple[list[float], list[float]]:
        """Epochs and values of a metric."""
        found = [(row["epoch"], row[metric]) for row in self.rows if row["split"] == split and row[metric] is not None]
        return [epoch for epoch, _ in found], [value for _, value in found]


def find_run(name: str, runs: Path, results: Path) -> Run:
    """A run by its folder, or by the beginning of its name or hash.

    Args:
        name: A run folder, or how the name or the hash of one in ``runs`` or in the archives in ``results`` begins.
        runs: Folder of all run folders.
        results: Folder of all archives.

    Raises:
        UsageError: If there is none, or more than one.
    """
    if (Path(name) / "config.yaml").exists():
        return _from_folder(Path(name))
    folders = [path.parent for path in sorted(runs.glob("*/*/config.yaml")) if _begins(path.parent.name, name)]
    if folders:
        return _from_folder(_only(name, {path: path.name for path in folders}))
    rows: dict[tuple[Path, str], str] = {}
    for folder in archive.folders(results):
        stored = archive.load(folder).runs
        rows |= {(folder, str(run.hash)): run_name for run in stored.itertuples() if _begins(run_name := _name(run), name)}
    if not rows:
        raise UsageError(f"no runs begin with '{name}': give a run folder, or a name or hash from {runs} or {results}")
    return _from_archive(*_only(name, rows))


def comparison(runs: Sequence[Run], width: int) -> RenderableType:
    """A table of the runs, with the settings in which they differ, and their validation accuracies as a plot."""
    differing = [
        key
        for key in dict.fromkeys(key for run in runs for key in run.settings)
        if len({str(run.settings.get(key)) for run in runs}) > 1
        and key.split(".")[0] not in ("paths", "impl", "diagnostics", "wandb")
    ]
    table = _table("", *(run.name for run in runs))
    for key in differing:
        table.add_row(key, *(str(run.settings.get(key, "–")) for run in runs))
    table.add_row("state", *(str(run.status["state"]) for run in runs))
    table.add_row("epoch", *(f"{run.status['epoch']:g}" for run in runs))
    for split in SPLITS:
        table.add_row(f"{split} accuracy", *(_percent(run.last(split, "accuracy")) for run in runs))
    return Group(table, "", _plot(runs, width))


def overview(runs: Path) -> RenderableType:
    """The number of runs of each experiment by state, and the progress of those that train."""
    folders = [path.parent for path in sorted(runs.glob("*/*/status.json"))]
    status = {
        folder: RunFolder(folder).status() or {"state": "failed", "error": "status.json is damaged"} for folder in folders
    }
    if not folders:
        return Text(f"no runs in {runs}: `make demo` trains some, or name another folder with --in")
    counts = _table("experiment", *STATES)
    for name in sorted({folder.parent.name for folder in folders}):
        states = Counter(status[folder]["state"] for folder in folders if folder.parent.name == name)
        counts.add_row(name, *(str(states[state] or "") for state in STATES))
    unfinished = [folder for folder in folders if status[folder]["state"] not in FINISHED]
    killed = {folder for folder in unfinished if status[folder]["state"] == "running" and not RunFolder(folder).lease.is_held()}
    rows = Table.grid(padding=(0, 2))
    for folder in unfinished:
        one = status[folder]
        held = " (no process)" if folder in killed else ""
        done, steps = one.get("step", 0), one.get("steps", 1)
        news = str(one.get("error") or f"{done}/{steps}")
        rows.add_row(folder.name, one["state"] + held, ProgressBar(total=steps, completed=done, width=16), news)
    hint = "\nA run that no process trains was killed: repeat its command to resume it from the last checkpoint."
    return Group(counts, "", rows, *([hint] if killed else [])) if unfinished else counts


def _table(*headings: str) -> Table:
    """A table without lines; all columns but the first are flush right."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if index else "left", overflow="fold")
    return table


def _from_folder(folder: Path) -> Run:
    try:
        config, status = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")), RunFolder(folder).status()
        if isinstance(config, dict) and "study" in config:
            raise UsageError(f"'{folder.name}' is a study, which has no curves to compare: its page is in results/")
        rows = read_metrics(folder / "metrics.jsonl")
        for file, whole in (
            ("config.yaml", isinstance(config, dict)),
            ("status.json", status is not None and "epoch" in status),
            ("metrics.jsonl", all(isinstance(row, dict) and {"step", "epoch", "split"} <= row.keys() for row in rows)),
        ):
            if not whole:
                raise ValueError(f"{file} is damaged")
        return Run(folder.name, flatten(config), status or {}, rows, folder)
    except UsageError:
        raise
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"run folder '{folder.name}' cannot be read: {first_line(error)}") from error


def _from_archive(folder: Path, run: str) -> Run:
    stored = archive.load(folder)
    row = next(row for row in stored.runs.itertuples() if row.hash == run)
    curves, layers = (table[table["hash"] == run] for table in (stored.curves, stored.layers))
    rows = [*curves.astype(object).where(curves.notna(), None).to_dict("records"), *from_table(layers)]
    status = {"state": row.state, "epoch": row.epoch}
    return Run(_name(row), flatten(json.loads(str(row.config))), status, rows)


def _name(row: Any) -> str:
    """Name of the folder that an archived run had."""
    return f"{row.init}-s{row.seed}-{row.hash}"


def _begins(name: str, beginning: str) -> bool:
    return name.startswith(beginning) or name.rpartition("-")[2].startswith(beginning)


def _only(beginning: str, found: Mapping[T, str]) -> T:
    """The one of the runs that were found, given with their names."""
    if len(found) > 1:
        some = ", ".join(list(found.values())[:5]) + (", ..." if len(found) > 5 else "")
        raise UsageError(f"'{beginning}' is the beginning of {len(found)} runs: {some}")
    return next(iter(found))


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _plot(runs: Sequence[Run], width: int) -> Text:
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(min(width, 100), 16)
    for run, marker in zip(runs, cycle("●▲■◆○△□◇")):
        epochs, values = run.curve("validation", "accuracy")
        if epochs:
            plotext.plot(epochs, [100 * value for value in values], label=run.name, marker=marker)
    plotext.title("validation accuracy in percent, by epoch")
    return Text.from_ansi(plotext.build())
