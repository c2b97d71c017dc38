"""Run folders that are there already, mirrored as often as wanted; the sweep file; the report."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args
from wandb_toys import WandbServer, as_history, offline_history, say, without_clock, write

from idinit.errors import UsageError
from idinit_suite.config import check, compose
from idinit_suite.experiments.grid import load_experiment
from idinit_suite.report.wandb_report import build_report, mirror_all, report_of
from idinit_suite.tracking.wandb_follower import labels, run_id_of
from idinit_suite.tracking.wandb_mirror import mirror
from idinit_suite.training.run_folder import RunFolder
from idinit_suite.training.trainer import train

ROOT = Path(__file__).parents[3]


def test_an_offline_mirror_of_an_old_run_is_one_file_however_often_it_is_made(folder: Path) -> None:
    write(folder, 0, 10)
    say(folder, "preempted")
    assert mirror(folder, mode="offline", project="suite")
    write(folder, 20)
    say(folder, "done")
    assert mirror(folder, mode="offline", project="suite")
    assert offline_history(folder) == [as_history(0), as_history(10), as_history(20)]
    (file,) = (folder / "wandb").glob("offline-run-*/*.wandb")
    made = file.stat().st_mtime_ns
    assert mirror(folder, mode="offline", project="suite")
    assert file.stat().st_mtime_ns == made, "what is there is left alone"


def test_an_online_mirror_sends_each_step_once_from_any_place(folder: Path, server: WandbServer, tmp_path: Path) -> None:
    write(folder, 0, 10, 20)
    say(folder, "done")
    moved = tmp_path / "elsewhere" / folder.name
    shutil.copytree(folder, moved)
    for place in (folder, folder, moved):
        assert mirror(place, mode="online", project="suite")
    assert [without_clock(json.loads(line)) for line in server.history] == [as_history(step) for step in (0, 10, 20)]


def test_the_offline_file_of_a_real_run_holds_every_row_of_its_log(tmp_path: Path) -> None:
    places = [f"paths.{place}={tmp_path}/{place}" for place in ("data", "runs", "results")]
    tiny = ["model=resnet", "model.depth=8", "data=digits", "data.batch_size=16", "data.train_limit=64", "impl.threads=1"]
    config = check(
        compose(
            [
                "experiment=demo",
                "budget=smoke",
                "train.log_every=1",
                "wandb.mode=disabled",
                "train.precision=float32",
                *tiny,
                *places,
            ]
        )
    )
    train(config)
    assert mirror_all(["wandb.mode=offline", *places]) == []
    expected: dict[int, dict[str, float]] = {}
    for line in (config.folder / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        step, split = row.pop("step"), row.pop("split")
        known = expected.setdefault(step, {"_step": step, "epoch": row.pop("epoch"), "lr": row["lr"]})
        known |= {f"{split}/{name}": value for name, value in row.items() if value is not None and name not in ("epoch", "lr")}
    assert offline_history(config.folder) == [expected[step] for step in sorted(expected)]


def test_a_run_that_cannot_be_mirrored_is_told(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = tmp_path / "runs" / "toy"
    runs.mkdir(parents=True)
    write(folder, 0)
    say(folder, "done")
    (folder / "config.yaml").unlink()
    folder.rename(runs / folder.name)
    assert mirror_all(["wandb.mode=offline", f"paths.runs={tmp_path}/runs"]) == [folder.name]


@pytest.mark.parametrize(("script", "arguments"), [("mirror.py", []), ("wandb_report.py", ["experiment=demo"])])
def test_without_a_login_it_says_what_to_do(script: str, arguments: list[str], tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 2
    assert re.fullmatch(r"idinit: W&B: you are not logged in: run `wandb login`, or set WANDB_API_KEY; .*\n", done.stderr)


def test_a_run_that_is_trained_again_is_another_one_of_wandb(tmp_path: Path) -> None:
    """W&B takes no step twice: the rows of the second training would be dropped."""
    path = tmp_path / "idinit-s0-0a1b2c3d"
    ids = []
    for _ in range(3):
        with RunFolder(path) as folder:
            folder.clear()
            ids += [run_id_of(path)]
            folder.clear()  # of a folder that holds nothing
            (path / "metrics.jsonl").write_text("{}\n")
    assert ids == ["0a1b2c3d", "0a1b2c3d-1", "0a1b2c3d-2"]


def test_a_report_needs_an_experiment() -> None:
    with pytest.raises(UsageError, match="which experiment"):
        build_report([])


def test_the_report_groups_the_curves_of_an_experiment_by_initializer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_ENTITY", "team")
    info = load_experiment(["experiment=cifar10-resnet56"]).info
    model = report_of(info, "idinit")._to_model().model_dump(mode="json", by_alias=True)
    text = json.dumps(model)
    assert all(f'"{split}/accuracy"' in text for split in ("validation", "test")) and '"train/loss"' in text
    assert info.deviations[0] in json.loads(json.dumps(text))
    assert text.count('"groupBy": "arm.value"') == 4 and '"name": "experiment"}, "op": "=", "value": "cifar10-resnet56"' in text
    assert '"name": "phase"}, "op": "=", "value": "main"' in text


def test_the_sweep_file_drives_train_with_overrides_that_make_valid_runs() -> None:
    sweep = yaml.safe_load((ROOT / "configs" / "wandb-sweep.yaml").read_text())
    assert sweep["program"] == "scripts/train.py"
    names, values = list(sweep["parameters"]), [one["values"] for one in sweep["parameters"].values()]
    hashes, named = set(), set()
    grouped: dict[str, set[Any]] = {}
    for point in itertools.product(*values):
        arguments = create_sweep_command_args({"args": {name: {"value": v} for name, v in zip(names, point, strict=True)}})
        words: list[str] = []
        for word in create_sweep_command(list(sweep["command"])):
            words += arguments["args_no_hyphens"] if word == "${args_no_hyphens}" else [word]
        config = check(compose([word for word in words if "=" in word]))
        assert (config.init["name"], config.optim["lr"], config.seed) == point
        hashes.add(config.hash)
        of = labels(config.model_dump(mode="json"))
        named.add(of["name"])
        grouped.setdefault(of["group"], set()).add((config.init["name"], config.optim["lr"]))
    assert len(named) == len(hashes) and all(len(settings) == 1 for settings in grouped.values())
    assert len(hashes) == len(list(itertools.product(*values)))
