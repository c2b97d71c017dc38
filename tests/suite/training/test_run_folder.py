import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from idinit_suite.errors import RunLocked
from idinit_suite.training.lease import LEASE_S
from idinit_suite.training.run_folder import RunFolder, read_metrics


def rows(*steps: int) -> list[dict[str, object]]:
    return [{"step": step, "split": "train", "loss": 1.0 / (step + 1)} for step in steps]


def test_rewind_drops_later_rows_and_a_line_cut_short(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.rewind(-1)
        for row in rows(1, 2, 3):
            folder.append(row)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "spl')
    with RunFolder(tmp_path) as folder:
        assert folder.rewind(2) == rows(1, 2)
        folder.append(rows(3)[0])
    assert read_metrics(tmp_path / "metrics.jsonl") == rows(1, 2, 3)


def test_not_a_number_is_written_as_null(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.rewind(-1)
        folder.append({"step": 1, "loss": float("nan"), "inner": {"x": float("inf")}})
    line = (tmp_path / "metrics.jsonl").read_text()
    assert json.loads(line) == {"step": 1, "loss": None, "inner": {"x": None}}


def test_a_second_holder_is_refused_until_the_first_leaves(tmp_path: Path) -> None:
    with RunFolder(tmp_path), pytest.raises(RunLocked, match="another process"), RunFolder(tmp_path):
        pass
    with RunFolder(tmp_path) as folder:
        assert folder.status() is None


def test_the_lock_of_a_process_that_was_killed_is_free_at_once(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from idinit_suite.training.run_folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with pytest.raises(RunLocked), RunFolder(tmp_path):
            pass
        assert RunFolder(tmp_path).lease.is_held()
        holder.kill()
    assert (tmp_path / ".lease").exists() and not RunFolder(tmp_path).lease.is_held()
    with RunFolder(tmp_path) as folder:
        assert folder.status() is None
    assert not folder.lease.is_held()


def test_the_lock_of_another_machine_is_taken_over_when_it_gives_no_sign_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("idinit_suite.training.lease.LEASE_S", 0.5)
    with RunFolder(tmp_path):
        marker = (tmp_path / ".lease").read_text()
    elsewhere = re.sub(r"host=.*", "host=another-machine", marker)
    (tmp_path / ".lease").write_text(elsewhere)
    waiting = RunFolder(tmp_path)
    begun = time.monotonic()
    while True:
        try:
            with waiting:
                break
        except RunLocked:
            time.sleep(0.05)
    assert time.monotonic() - begun >= 0.5


def test_a_process_that_lost_its_run_writes_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idinit_suite.training.lease.LEASE_S", 0.3)
    with RunFolder(tmp_path) as folder:
        folder.rewind(-1)
        (tmp_path / ".lease").unlink()  # as who waited long enough would
        with pytest.raises(RunLocked, match="another process"):
            for _ in range(100):
                folder.write_status({"state": "running"})
                time.sleep(0.05)
        for write in (lambda: folder.append({"step": 1}), folder.sync, lambda: folder.write_status({})):
            with pytest.raises(RunLocked):
                write()


def test_a_damaged_status_counts_as_none(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.write_status({"state": "done"})
        assert folder.status() == {"state": "done"}
        (tmp_path / "status.json").write_text('{"state": "do')
        assert folder.status() is None


def test_a_resumed_run_goes_on_from_before_a_damaged_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n\x00\x00\x00\n{"step": 3}\n')
    with pytest.raises(ValueError, match="Expecting"):
        read_metrics(path)
    with RunFolder(tmp_path) as folder:
        assert folder.rewind(5) == [{"step": 1}]


@pytest.mark.parametrize("content", ["[1]", "{}", "3", "null", '{"state": "odd"}', '{"state": ["done"]}'])
def test_a_status_that_says_nothing_counts_as_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text(content)
    assert RunFolder(tmp_path).status() is None


def damage(path: Path, how: str) -> None:
    lines = path.read_text().splitlines(keepends=True)
    if how == "removed":
        path.unlink()
    elif how == "shortened":
        path.write_text("".join(lines[:1]))
    else:
        path.write_text("".join([lines[0], how + "\n", *lines[2:]]))


@pytest.mark.parametrize("how", ["removed", "shortened", "nonsense", "[1]", "{}", '{"step": "2"}'])
def test_metrics_that_are_damaged_are_made_again_from_what_was_saved(
    how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written = [{**row, "samples_per_s": 8.0} for row in rows(1, 2, 3)]
    with RunFolder(tmp_path) as folder:
        folder.rewind(-1)
        for row in written:
            folder.append(row)
        saved = folder.sync()
    with RunFolder(tmp_path) as folder:
        assert folder.rewind(3, saved) == written and not caplog.records
    damage(tmp_path / "metrics.jsonl", how)
    with RunFolder(tmp_path) as folder:
        made = folder.rewind(3, saved)
        assert [{key: row[key] for key in ("step", "split", "loss")} for row in made] == rows(1, 2, 3)
        assert folder.sync() == saved
    assert "made again from the checkpoint" in caplog.text
    assert read_metrics(tmp_path / "metrics.jsonl") == made


def test_a_new_command_takes_over_what_another_machine_left_long_ago(tmp_path: Path) -> None:
    lease = tmp_path / ".lease"
    with RunFolder(tmp_path):
        marker = re.sub(r"host=.*", "host=another-machine", lease.read_text())
    lease.write_text(marker)
    with pytest.raises(RunLocked), RunFolder(tmp_path):
        pass
    assert RunFolder(tmp_path).lease.is_held()
    long_ago = time.time() - LEASE_S - 5
    os.utime(lease, (long_ago, long_ago))
    assert not RunFolder(tmp_path).lease.is_held()
    with RunFolder(tmp_path) as folder:
        assert "another-machine" not in lease.read_text()
        folder.lease.check_held()
    assert not list(tmp_path.glob(".lease*"))
