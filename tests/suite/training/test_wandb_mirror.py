"""What the mirror tells W&B: each row once, however the run went."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from wandb_toys import (
    COMMIT,
    CONFIG,
    ENV,
    WandbServer,
    as_history,
    offline_history,
    offline_records,
    say,
    summary_of,
    without_clock,
    write,
)

from idinit_suite.tracking.wandb_follower import CODE, PICTURE, REPORT, complete_steps, rows
from idinit_suite.tracking.wandb_mirror import mirror, mirror_finished, mirrored, resolve_mode

ROOT = Path(__file__).parents[3]


@pytest.mark.usefixtures("patient")
def test_offline_file_holds_the_run(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with mirrored(folder, mode="offline", project="suite"):
        write(folder, 0, 10, 20)
        say(folder, "done")
    records = {record["type"]: record[record["type"]] for record in offline_records(folder)}
    assert offline_history(folder) == [as_history(0), as_history(10), as_history(20)]
    run = records["run"]
    assert {key: run[key] for key in ("run_id", "display_name", "project", "run_group", "job_type", "tags")} == {
        "run_id": "0a1b2c3d",
        "display_name": "idinit-loose, seed 3, lr 0.1",
        "project": "suite",
        "run_group": "idinit-loose, lr 0.1, toy cpu",
        "job_type": "main",
        "tags": ["toy", "cpu", "mlp"],
    }
    config = run["config"]["update"]
    assert {key: config[key] for key in (*CONFIG, "environment")} == {**CONFIG, "environment": ENV}
    assert (records["metric"]["glob_name"], records["metric"]["step_metric"]) == ("*", "epoch")
    assert caplog.messages == []


@pytest.mark.usefixtures("patient")
def test_the_summary_says_what_the_run_came_to(folder: Path) -> None:
    with mirrored(folder, mode="offline", project="suite"):
        write(folder, 0, 65, 90, 75)
        say(folder, "done")
    summary = summary_of(folder)
    expected = {
        "state": "done",
        "diverged": False,
        "final/validation_accuracy": 0.75,
        "best/validation_accuracy": 0.9,
        "final/test_accuracy": 0.5,
        "epochs_to_60": 65 / 20,
        "epochs_to_70": 90 / 20,
        "epochs_to_80": 90 / 20,
    }
    assert {key: summary[key] for key in expected} == expected


@pytest.mark.usefixtures("patient")
def test_the_initialization_is_a_table_and_a_picture_at_step_0(folder: Path) -> None:
    row = {"parameter": "0.weight", "shape": "4x3", "part": "stem", "rule": "IDI(1)", "note": ""}
    (folder / REPORT).write_text(json.dumps([row]))
    Image.new("RGB", (4, 3)).save(folder / PICTURE)
    with mirrored(folder, mode="offline", project="suite"):
        write(folder, 0, 10)
        say(folder, "done")
    first, second = offline_history(folder)
    assert (first["initialization._type"], first["initialization.nrows"]) == ("table-file", 1)
    assert (first["signals._type"], first["signals.width"]) == ("image-file", 4)
    assert second == as_history(10)


@pytest.mark.usefixtures("patient")
def test_a_search_run_has_its_table_although_it_is_not_evaluated_at_step_0(folder: Path) -> None:
    (folder / REPORT).write_text(json.dumps([{"parameter": "0.weight", "rule": "IDI(1)"}]))
    with mirrored(folder, mode="offline", project="suite"):
        write(folder, 10)
        say(folder, "done")
    first, second = offline_history(folder)
    assert (first["_step"], first["initialization.nrows"]) == (0, 1)
    assert second == as_history(10)


@pytest.mark.usefixtures("patient")
def test_the_commit_of_the_code_is_named_and_the_run_folder_is_left_as_it_was(folder: Path, server: WandbServer) -> None:
    before = (folder / "config.yaml").read_bytes()
    for mode in ("offline", "online"):
        with mirrored(folder, mode=mode, project="suite"):
            say(folder, "done")
        assert (folder / "config.yaml").read_bytes() == before
    (run,) = [record["run"] for record in offline_records(folder) if record["type"] == "run"]
    assert run["git"] == {"commit": COMMIT}, "that of the run, whatever is checked out when it is mirrored"


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("wanted", [True, False])
def test_the_code_of_a_run_in_training_is_saved(folder: Path, wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_DISABLE_CODE", str(not wanted).lower())
    for state in ("preempted", "done"):
        with mirrored(folder, mode="offline", project="suite"):
            say(folder, state)
    artifacts = [record["artifact"] for record in offline_records(folder) if record["type"] == "artifact"]
    assert [(artifact["name"], artifact["type"]) for artifact in artifacts] == wanted * [("code", "code")]
    saved = {entry["path"]: Path(entry["local_path"]) for artifact in artifacts for entry in artifact["manifest"]["contents"]}
    assert {path.split("/")[0] for path in saved} == (set(CODE) if wanted else set())
    for path, copy in saved.items():
        assert copy.is_relative_to(folder) and copy.read_bytes() == (ROOT / path).read_bytes()
    assert wanted == ({"src/idinit/__init__.py", "configs/train.yaml", "scripts/train.py"} <= set(saved))


@pytest.mark.usefixtures("patient")
def test_the_code_of_an_old_run_is_not_what_is_there_now(folder: Path) -> None:
    say(folder, "done")
    assert mirror(folder, mode="offline", project="suite")
    assert "artifact" not in [record["type"] for record in offline_records(folder)]


@pytest.mark.usefixtures("patient")
def test_an_agent_of_a_sweep_gets_the_rows_in_the_run_it_waits_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, 0, 10)
    say(folder, "done")
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep")
    monkeypatch.setenv("WANDB_RUN_ID", "agentrun")
    mirror_finished(folder, mode="offline", project="suite")
    (run,) = [record["run"] for record in offline_records(folder) if record["type"] == "run"]
    assert run["run_id"] == "agentrun"
    assert offline_history(folder) == [as_history(0), as_history(10)]


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(("state", "exit_code"), [("diverged", 0), ("failed", 1), ("preempted", 1)])
def test_how_the_run_ended(folder: Path, state: str, exit_code: int) -> None:
    with mirrored(folder, mode="offline", project="suite"):
        say(folder, state)
    records = offline_records(folder)
    assert [r["exit"].get("exit_code", 0) for r in records if r["type"] == "exit"] == [exit_code]
    assert (summary_of(folder)["state"], summary_of(folder)["diverged"]) == (state, state == "diverged")
    assert not [key for key in summary_of(folder) if key.startswith("final/")]  # it has no last evaluation


@pytest.mark.usefixtures("patient")
def test_resumed_offline_run_is_one_file_with_each_step_once(folder: Path) -> None:
    with mirrored(folder, mode="offline", project="suite"):
        write(folder, 0, 10)
        say(folder, "preempted")
    assert offline_history(folder) == [as_history(0)]  # more could have come for step 10
    with mirrored(folder, mode="offline", project="suite"):
        write(folder, 20)
        say(folder, "done")
    assert offline_history(folder) == [as_history(0), as_history(10), as_history(20)]


@pytest.mark.usefixtures("patient")
def test_online_run_resumed_twice_has_each_step_once(folder: Path, server: WandbServer) -> None:
    with mirrored(folder, mode="auto", project="suite"):
        write(folder, 0, 10, 20)  # the process is killed here: its status is still "running"
    assert [json.loads(line)["_step"] for line in server.history] == [0, 10]
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(lines[:3]))  # the checkpoint was of step 0: the run makes 10 and 20 again
    with mirrored(folder, mode="auto", project="suite"):
        write(folder, 10, 20)
        say(folder, "preempted")
    with mirrored(folder, mode="auto", project="suite"):
        write(folder, 30)
        say(folder, "done")
    assert [without_clock(json.loads(line)) for line in server.history] == [as_history(s) for s in (0, 10, 20, 30)]
    assert server.exit_codes == [1, 1, 0]


@pytest.mark.parametrize(
    ("environment", "netrc", "expected"),
    [
        ({}, "", "disabled"),
        ({"WANDB_API_KEY": "k"}, "", "online"),
        ({}, "machine api.wandb.ai login user password k", "online"),
        ({}, "machine elsewhere.org login user password k", "disabled"),
        (
            {"WANDB_BASE_URL": "https://wandb.elsewhere.org:8080"},
            "machine wandb.elsewhere.org:8080 login user password k",
            "online",
        ),
        ({}, "not a netrc file", "disabled"),
        ({"WANDB_API_KEY": "k", "WANDB_MODE": "disabled"}, "", "disabled"),
        ({"WANDB_MODE": "offline"}, "", "offline"),
    ],
)
def test_auto(environment: dict[str, str], netrc: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text(netrc)
    for name, value in {"NETRC": str(tmp_path / "netrc"), **environment}.items():
        monkeypatch.setenv(name, value)
    assert resolve_mode("auto") == expected
    for mode in ("online", "offline", "disabled"):
        assert resolve_mode(mode) == mode


def test_rows_wait_for_the_rest_of_a_line(tmp_path: Path) -> None:
    log, ended, seen = tmp_path / "metrics.jsonl", threading.Event(), list[Any]()
    log.write_text('{"step": 1}\n{"st')
    reader = threading.Thread(target=lambda: seen.extend(rows(log, ended)))
    reader.start()
    with log.open("a") as file:
        file.write('ep": 2}\n')
    ended.set()
    reader.join()
    assert seen == [{"step": 1}, {"step": 2}]


@pytest.mark.parametrize(("state", "steps"), [("done", [0, 10]), ("diverged", [0, 10]), ("running", [0]), ("failed", [0])])
def test_last_step_is_held_back_until_the_run_is_over(folder: Path, state: str, steps: list[int]) -> None:
    write(folder, 0, 10)
    say(folder, state)
    ended = threading.Event()
    ended.set()
    assert [step for step, _ in complete_steps(folder, ended)] == steps
