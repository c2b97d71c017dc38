"""Copies a run folder to one W&B run while it grows. ``wandb_mirror.py`` starts this file as a process."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, suppress
from pathlib import Path
from typing import Any, Literal, NoReturn

import yaml
from filelock import FileLock

POLL_S = 1.0
# Names in the run folder are kept here, and the package imports them from this file: it runs without the package.
REPORT, PICTURE = "initialization.json", "signals.png"  # of the run folder
AGAIN = ".trained-again"  # a file there: how often
NOT_MIRRORED = Path("wandb") / "not-mirrored.txt"  # there, and only then: why W&B does not have all of the run
UPLOAD_DIED = "Fatal error while uploading"  # what W&B says then, which raises nothing
CODE = ("src", "configs", "scripts")  # of a clone
LAYERS = "layers"  # takes the place of a split in the rows of ``metrics.jsonl`` about layers
THRESHOLDS = (60, 70, 80)  # percent


def follow(
    folder: Path, mode: Literal["online", "offline"], project: str, ended: threading.Event, clone: Path | None = None
) -> None:
    """Copies what is in the run folder and what comes, until the run has ended.

    Args:
        folder: The run folder.
        mode: Whether rows go to the server or into a file under ``folder/wandb``.
        project: The W&B project.
        ended: Set when nothing more will be written.
        clone: The clone of the project that the run is trained from, whose code is saved.
    """
    import wandb  # here, so that `main` reports its absence like other errors

    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    config["environment"] = json.loads((folder / "env.json").read_text(encoding="utf-8"))
    run_id = run_id_of(folder)
    if mode == "offline":  # in `wandb sync` two files of one run would overwrite each other: one has it all
        for earlier in (folder / "wandb").glob(f"offline-run-*-{run_id}"):
            shutil.rmtree(earlier)
        shutil.rmtree(folder / "wandb" / "artifacts", ignore_errors=True)
        os.environ["WANDB_DATA_DIR"] = str(folder / "wandb")  # files wait for `wandb sync` there, and not in the home folder
    run = wandb.init(
        mode=mode,
        project=project,
        id=run_id,
        **labels(config),
        config=config,
        dir=folder,
        resume="allow",
        allow_val_change=True,
        settings=wandb.Settings(
            console="off",
            quiet=True,
            disable_code=True,  # the program that W&B would save is this one
            disable_git=True,  # what is checked out now need not be the code of a run of long ago
            git_commit=(config["environment"].get("commit") or "").removesuffix("-dirty") or None,
        ),
    )
    if run.url:
        print(run.url, flush=True)
    run.define_metric("epoch")
    run.define_metric("*", step_metric="epoch")
    if clone is not None:
        run.log_artifact(code(clone))
    first = run.step  # of a resumed run: the one after the last that W&B has
    if first == 0 and (before := start(folder)):
        run.log(before, step=0)  # a search run has no row of its own there
    for step, metrics in complete_steps(folder, ended):
        if step >= first:
            run.log(metrics, step=step)
    state = state_of(folder)
    if state != "running":
        run.summary.update({"state": state, **summary(folder, state)})
    run.finish(exit_code=0 if state in ("done", "diverged") else 1)  # divergence is a result like any other


def run_id_of(folder: Path) -> str:
    """The id of the W&B run: the one that an agent of a sweep waits for, or the hash at the end of the folder's name.

    A run that was trained again has its number besides: W&B takes no step of a run twice.
    """
    waited_for = os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None
    again = folder / AGAIN
    number = f"-{again.read_text(encoding='utf-8')}" if again.exists() else ""
    return waited_for or folder.name.rpartition("-")[2] + number


def labels(config: dict[str, Any]) -> dict[str, Any]:
    """W&B's name, group and tags of the run: its workspace shows a curve for each group, so an initializer at a rate is one."""
    rate = f"lr {config['optim']['lr']:g}"
    where = f"{config['experiment']} {config['budget']}" + (", search" if config.get("phase") == "tune" else "")
    return {
        "name": f"{config['arm']}, seed {config['seed']}, {rate}",
        "group": f"{config['arm']}, {rate}, {where}",
        "job_type": config.get("phase", "main"),
        "tags": [config["experiment"], config["budget"], config["model"]["name"]],
    }


def start(folder: Path) -> dict[str, Any]:
    """The run folder's records of the network before training: the report of its initialization, a picture of its signals."""
    import wandb

    found: dict[str, Any] = {}
    if (table := folder / REPORT).exists():
        rows = json.loads(table.read_text(encoding="utf-8"))
        found["initialization"] = wandb.Table(columns=list(rows[0]), data=[list(map(str, row.values())) for row in rows])
    if (picture := folder / PICTURE).exists():
        found["signals"] = wandb.Image(str(picture))
    return found


def code(clone: Path) -> Any:
    """The project's code as a W&B artifact, which W&B keeps once for all runs of the same code."""
    import wandb

    artifact = wandb.Artifact("code", type="code")
    for file in (file for part in CODE for file in sorted((clone / part).rglob("*"))):
        if file.suffix in (".py", ".yaml", ".css", ".j2", ".js"):
            artifact.add_file(str(file), name=file.relative_to(clone).as_posix())
    return artifact


def summary(folder: Path, state: str) -> dict[str, Any]:
    """The results of a run: last and best accuracies, epochs to 60, 70 and 80 % validation accuracy, whether it diverged."""
    found: dict[str, Any] = {"diverged": state == "diverged"}
    for row in map(json.loads, (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()):
        split, accuracy = row["split"], row.get("accuracy")
        if accuracy is None:
            continue
        if state == "done":
            found[f"final/{split}_accuracy"] = accuracy
        found[f"best/{split}_accuracy"] = max(accuracy, found.get(f"best/{split}_accuracy", accuracy))
        if split == "validation":
            reached = [f"epochs_to_{percent}" for percent in THRESHOLDS if accuracy >= percent / 100]
            found |= {name: row["epoch"] for name in reached if name not in found}
    return found


def complete_steps(folder: Path, ended: threading.Event) -> Iterator[tuple[int, dict[str, float]]]:
    """Yields each step with what all its rows say, as ``{"validation/accuracy": 0.9, ..., "epoch": 1.5}``.

    W&B takes a step once, so a step is held back until a later one shows that it is complete, or the run is over. What
    an interrupted run leaves held back is sent when the run is resumed.
    """
    current, metrics = -1, dict[str, float]()
    for row in rows(folder / "metrics.jsonl", ended):
        step, epoch, split = row.pop("step"), row.pop("epoch"), row.pop("split")
        if metrics and step != current:
            yield current, metrics
            metrics = {}
        current = step
        metrics["epoch"] = epoch
        if (rate := row.pop("lr", None)) is not None:
            metrics["lr"] = rate  # one curve, whichever split is measured
        for name, value in row.items():  # of the layers, a statistic is a section with a curve for each
            values = {f"{name}/{layer}": of for layer, of in value.items()} if split == LAYERS else {f"{split}/{name}": value}
            metrics |= {name: value for name, value in values.items() if value is not None}
    if metrics and state_of(folder) in ("done", "diverged"):
        yield current, metrics


def rows(log: Path, ended: threading.Event) -> Iterator[dict[str, Any]]:
    """Yields the rows of a growing JSON Lines file until ``ended`` is set and all of it is read."""
    position = 0
    while True:
        last = ended.is_set()  # asked before reading, so that whatever was written before the end is read
        with log.open("rb") as file:
            file.seek(position)
            written = file.read()
        whole = written[: written.rfind(b"\n") + 1]  # the last line may be half written
        position += len(whole)
        yield from map(json.loads, whole.splitlines())
        if last:
            return
        ended.wait(POLL_S)


def state_of(folder: Path) -> str:
    """The state in ``status.json``."""
    return str(json.loads((folder / "status.json").read_text(encoding="utf-8"))["state"])


def _watch(folder: Path, ended: threading.Event, linger_s: float) -> None:
    os.read(sys.stdin.fileno(), 1)  # returns when the run closes the pipe or dies
    ended.set()
    time.sleep(linger_s)
    _give_up(folder, f"W&B did not take everything within {linger_s:g} s of the run's end")  # it may hang in its own threads


def _give_up(folder: Path, reason: str) -> NoReturn:
    line = f"not mirrored ({reason}); the run's own log is complete, and `make wandb` sends it"
    with suppress(OSError):
        (folder / NOT_MIRRORED).write_text(f"{line}\n", encoding="utf-8")
    with suppress(OSError):  # the run that would relay it may be over
        print(line, flush=True)
    os._exit(1)  # W&B's exit hooks could hang on what failed


def main() -> None:
    """``wandb_follower.py FOLDER MODE PROJECT LINGER_S [CLONE]``; prints the run's address, or in one line what went wrong."""
    folder, mode, project, linger_s = Path(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])
    clone = Path(sys.argv[5]) if len(sys.argv) > 5 else None
    ended = threading.Event()
    threading.Thread(target=_watch, args=(folder, ended, linger_s), daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(10)  # the run comes first
    errors = io.StringIO()
    try:
        (folder / "wandb").mkdir(exist_ok=True)
        with FileLock(folder / "wandb" / "mirror.lock"), redirect_stderr(errors):  # an earlier follower may still be sending
            (folder / NOT_MIRRORED).unlink(missing_ok=True)
            follow(folder, "offline" if mode == "offline" else "online", project, ended, clone)
    except Exception as error:  # whatever it is, it must not matter to the run
        _give_up(folder, f"{type(error).__name__}: {(str(error).strip() or 'no reason given').splitlines()[0]}")
    if UPLOAD_DIED in errors.getvalue():
        _give_up(folder, "W&B refused the upload")


if __name__ == "__main__":
    main()
