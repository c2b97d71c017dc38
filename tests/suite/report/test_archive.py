from __future__ import annotations

import json
import math
import resource
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from idinit.errors import UsageError
from idinit_suite.archive.run_record import TRAIN_ROWS, _without_remainder
from idinit_suite.archive.runs import archived, load, merge

FILES = ("runs.csv", "curves.csv", "environments.json")


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def hash_of(run: Path) -> str:
    return run.name[-8:]


def test_a_run_becomes_one_row(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run = make_run("idinit", [0.1, 0.65, 0.72], [0.1, 0.66, 0.64], seed=3, lr=0.05, time_s=90.5)
    assert merge([run], tmp_path / "r") == {hash_of(run)}
    (row,) = load(tmp_path / "r").runs.to_dict("records")
    config = json.loads(row.pop("config"))
    environment = row.pop("environment")
    assert row == {
        "hash": hash_of(run),
        "experiment": "cifar10-resnet56",
        "arm": "idinit",
        "init": "idinit",
        "data": "CIFAR-10 (JPEG copy)",
        "phase": "main",
        "seed": 3,
        "budget": "cpu",
        "state": "done",
        "step": 200,
        "steps": 200,
        "epoch": 2.0,
        "epochs": 2.0,
        "lr": 0.05,
        "train_loss": pytest.approx(2.3 - 2 * 0.72),
        "train_accuracy": 0.72,
        "validation_loss": pytest.approx(-math.log(0.72), rel=1e-5),
        "validation_accuracy": 0.72,
        "test_loss": pytest.approx(-math.log(0.64), rel=1e-5),
        "test_accuracy": 0.64,
        "test_top5_accuracy": pytest.approx(math.nan, nan_ok=True),
        "test_ema_accuracy": pytest.approx(math.nan, nan_ok=True),
        "best_test_accuracy": 0.66,
        "best_test_epoch": 1.0,
        "epochs_to_60": 1.0,
        "epochs_to_70": 2.0,
        "epochs_to_80": pytest.approx(math.nan, nan_ok=True),
        "time_s": 90.5,
        "samples_per_s": 600 + 112.5,  # the median over steps 25, 50, ..., 200
        "tokens": pytest.approx(math.nan, nan_ok=True),
        "flops": 200 * 9.2e10,
    }
    assert config["model"]["depth"] == 56 and config["seed"] == 3
    assert not {"paths", "wandb"} & config.keys()
    assert load(tmp_path / "r").environments[environment]["hardware"]["cores"] == 2


def test_an_archive_from_before_work_was_counted_is_read(make_run: Callable[..., Path], tmp_path: Path) -> None:
    merge([make_run("idinit", [0.1, 0.5])], tmp_path / "r")
    before = load(tmp_path / "r").runs
    before.drop(columns=["tokens", "flops"]).to_csv(tmp_path / "r" / "runs.csv", index=False)
    after = load(tmp_path / "r").runs
    assert list(after) == list(before) and after["flops"].isna().all()
    assert after.drop(columns="flops").equals(before.drop(columns="flops"))
    before.drop(columns=["state"]).to_csv(tmp_path / "r" / "runs.csv", index=False)
    with pytest.raises(UsageError, match="'runs.csv'.*'r'.*state"):
        load(tmp_path / "r")


def test_nothing_of_the_machine_is_archived(make_run: Callable[..., Path], tmp_path: Path) -> None:
    merge([make_run("idinit", [0.1, 0.5])], tmp_path / "r")
    assert b"/home" not in b"".join(contents(tmp_path / "r").values())


def test_only_finished_and_diverged_runs_are_merged(make_run: Callable[..., Path], tmp_path: Path) -> None:
    done = make_run("idinit", [0.1, 0.5])
    diverged = make_run("xavier", [0.1], state="diverged", epochs=1)
    others = [make_run("fixup", [0.1, 0.2], state=state, seed=i) for i, state in enumerate(["running", "failed"])]
    preempted = make_run("zero", [0.1, 0.2], state="preempted")
    just_started = tmp_path / "runs" / "rezero-s0-00000000"
    just_started.mkdir()
    merge([done, diverged, *others, preempted, just_started], tmp_path / "r")
    assert archived(tmp_path / "r") == {hash_of(done), hash_of(diverged)}


def test_an_archive_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    assert archived(tmp_path / "none") == set()
    assert merge([], tmp_path / "none") == set()
    assert not (tmp_path / "none").exists()


def test_merging_keeps_rows_whose_folders_are_gone(make_run: Callable[..., Path], tmp_path: Path) -> None:
    old, new = make_run("idinit", [0.1, 0.5]), make_run("fixup", [0.1, 0.4])
    merge([old], tmp_path / "r")
    row = load(tmp_path / "r").runs
    curve = load(tmp_path / "r").curves
    shutil.rmtree(old)
    merge([new], tmp_path / "r")
    after = load(tmp_path / "r")
    assert archived(tmp_path / "r") == {hash_of(old), hash_of(new)}
    kept = after.runs[after.runs["hash"] == hash_of(old)].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, row)
    pd.testing.assert_frame_equal(
        after.curves[after.curves["hash"] == hash_of(old)].reset_index(drop=True), curve.reset_index(drop=True)
    )


def test_a_rerun_replaces_its_row_and_its_curve(make_run: Callable[..., Path], tmp_path: Path) -> None:
    merge([make_run("idinit", [0.1, 0.5]), make_run("fixup", [0.1, 0.4])], tmp_path / "r")
    elsewhere = {"torch": "2.15", "data_source": "CIFAR-10"}
    again = make_run("idinit", [0.1, 0.625], environment=elsewhere, time_s=100)
    merge([again], tmp_path / "r")
    archive = load(tmp_path / "r")
    assert len(archive.runs) == 2
    row = archive.runs.set_index("hash").loc[hash_of(again)]
    assert row["test_accuracy"] == 0.625 and row["data"] == "CIFAR-10"
    curve = archive.curves[archive.curves["hash"] == hash_of(again)]
    assert curve[curve["split"] == "test"]["accuracy"].tolist() == [0.1, 0.625]
    assert len(archive.environments) == 2  # the other run's is still there


def test_a_run_that_is_there_is_not_read_again(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run = make_run("idinit", [0.1, 0.5], time_s=90)
    merge([run], tmp_path / "r")
    before = contents(tmp_path / "r")
    (run / "metrics.jsonl").write_text("not looked at")
    assert merge([run], tmp_path / "r") == {hash_of(run)}
    assert contents(tmp_path / "r") == before
    make_run("idinit", [0.1, 0.625], time_s=91)  # the same run, trained again
    assert merge([run], tmp_path / "r") == {hash_of(run)}
    assert load(tmp_path / "r").runs["test_accuracy"].tolist() == [0.625]


def test_an_environment_goes_with_its_last_run(make_run: Callable[..., Path], tmp_path: Path) -> None:
    merge([make_run("idinit", [0.1, 0.5])], tmp_path / "r")
    merge([make_run("idinit", [0.1, 0.5], environment={"data_source": "CIFAR-10"}, time_s=100)], tmp_path / "r")
    assert list(load(tmp_path / "r").environments.values()) == [{"data_source": "CIFAR-10"}]


def test_equal_environments_share_a_key(make_run: Callable[..., Path], tmp_path: Path) -> None:
    moved = {"cache": "/elsewhere", "data_source": "CIFAR-10"}  # the same but for a path
    runs = [make_run("idinit", [0.1, 0.5], seed=seed, environment=moved | {"x": "/tmp"}) for seed in range(2)]
    merge([*runs, make_run("fixup", [0.1, 0.5], environment={"data_source": "CIFAR-10"})], tmp_path / "r")
    assert load(tmp_path / "r").runs["environment"].nunique() == 1


def test_the_same_runs_give_the_same_bytes_in_any_order(make_run: Callable[..., Path], tmp_path: Path) -> None:
    runs = [make_run(variant, [0.1, 1 / 3, 2 / 3], seed=seed) for variant in ("none", "nan", "idinit") for seed in (0, 1)]
    runs.append(make_run("1e5", [0.1], state="diverged", epochs=2))
    merge(runs, tmp_path / "at-once")
    for run in reversed(runs):
        merge([run], tmp_path / "one-by-one")
    merge(runs[2:5], tmp_path / "one-by-one")
    assert contents(tmp_path / "at-once") == contents(tmp_path / "one-by-one")
    assert sorted(set(load(tmp_path / "at-once").runs["arm"])) == ["1e5", "idinit", "nan", "none"]


def test_train_rows_are_thinned_by_means_and_evaluations_kept(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run = make_run("idinit", [0.1] + [0.5] * 3, train_rows=300, per_epoch=300)
    merge([run], tmp_path / "r")
    curves = load(tmp_path / "r").curves
    train = curves[curves["split"] == "train"]
    assert len(train) == 180 <= TRAIN_ROWS  # 900 rows in groups of 5
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    first = [row for row in rows if row["split"] == "train"][:5]
    assert train["loss"].iloc[0] == pytest.approx(sum(row["loss"] for row in first) / 5, rel=1e-5)
    assert train["step"].iloc[0] == first[-1]["step"] and train["step"].iloc[-1] == 900
    assert (curves["split"] == "validation").sum() == (curves["split"] == "test").sum() == 4


def test_short_curves_are_kept_whole_and_in_order(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run = make_run("idinit", [0.1, 0.5], train_rows=2)
    merge([run], tmp_path / "r")
    curves = load(tmp_path / "r").curves
    assert list(zip(curves["step"], curves["split"], strict=True)) == [
        (0, "validation"),
        (0, "test"),
        (50, "train"),
        (100, "train"),
        (100, "validation"),
        (100, "test"),
    ]


def test_a_diverged_run_keeps_where_it_ended(make_run: Callable[..., Path], tmp_path: Path) -> None:
    merge([make_run("xavier", [0.1, 0.3], state="diverged", epochs=4)], tmp_path / "r")
    archive = load(tmp_path / "r")
    row = archive.runs.iloc[0]
    assert (row["state"], row["epoch"], row["epochs"], row["steps"]) == ("diverged", 1.5, 4, 400)
    assert math.isnan(row["train_loss"]) and row["test_accuracy"] == 0.3
    assert math.isnan(archive.curves[archive.curves["split"] == "train"]["loss"].iloc[-1])


@pytest.mark.parametrize("file", ["config.yaml", "env.json", "metrics.jsonl"])
def test_a_finished_run_with_a_file_missing_is_named(make_run: Callable[..., Path], tmp_path: Path, file: str) -> None:
    run = make_run("idinit", [0.1, 0.5])
    (run / file).unlink()
    with pytest.raises(UsageError, match=f"'{run.name}'.*{file}") as error:
        merge([run], tmp_path / "r")
    assert "\n" not in str(error.value) and str(tmp_path) not in str(error.value)


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("status.json", '{"state": "done"', "delimiter"),
        ("status.json", "[1]", "is damaged"),
        ("status.json", "{}", "no 'state'"),
        ("status.json", '{"state": "done"}', "status.json lacks hash, time_s"),
        ("config.yaml", "[1]", "config.yaml has no keys"),
        ("config.yaml", "", "config.yaml has no keys"),
        ("config.yaml", "seed: 0\n", "no 'experiment'"),
        ("config.yaml", "a: [1", "parsing"),
        ("env.json", "{}", "no 'data_source'"),
        ("env.json", "[1]", "is damaged"),
        ("metrics.jsonl", "{]\n", "Expecting"),
        ("metrics.jsonl", "[1]\n", "is damaged"),
        ("metrics.jsonl", "{}\n", "no 'split'"),
        ("metrics.jsonl", "", "metrics.jsonl is empty"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(
    make_run: Callable[..., Path], tmp_path: Path, file: str, text: str, problem: str
) -> None:
    run = make_run("idinit", [0.1, 0.5])
    (run / file).write_text(text)
    with pytest.raises(UsageError, match=problem) as error:
        merge([run], tmp_path / "r")
    assert run.name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("file", FILES)
def test_a_damaged_archive_is_refused_and_left_alone(make_run: Callable[..., Path], tmp_path: Path, file: str) -> None:
    merge([make_run("idinit", [0.1, 0.5])], tmp_path / "r")
    (tmp_path / "r" / file).write_text("<<<<<<< ours")
    with pytest.raises(UsageError, match=f"'{file}'.*'r'"):
        merge([make_run("fixup", [0.1, 0.5])], tmp_path / "r")
    assert (tmp_path / "r" / file).read_text() == "<<<<<<< ours"


def test_a_full_disk_loses_no_run(make_run: Callable[..., Path], tmp_path: Path) -> None:
    old = make_run("idinit", [0.1, 0.5])
    merge([old], tmp_path / "r")
    before = contents(tmp_path / "r")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    new = make_run("fixup", [0.1, 0.5])
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, limits[1]))  # fits the environments, not the curves
        with pytest.raises(OSError, match="too large"):
            merge([new], tmp_path / "r")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert contents(tmp_path / "r") == before
    assert {path.name for path in (tmp_path / "r").iterdir()} <= {*FILES, ".lock"}
    merge([new], tmp_path / "r")
    assert archived(tmp_path / "r") == {hash_of(old), hash_of(new)}


def test_merging_at_the_same_time_loses_nothing(make_run: Callable[..., Path], tmp_path: Path) -> None:
    runs = [make_run("idinit", [0.1, 0.5], seed=seed) for seed in range(12)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda run: merge([run], tmp_path / "r"), runs))
    assert archived(tmp_path / "r") == {hash_of(run) for run in runs}


def test_thinning_does_not_average_a_non_finite_loss_away(make_run: Callable[..., Path], tmp_path: Path) -> None:
    merge([make_run("xavier", [0.1, 0.3], state="diverged", epochs=2, train_rows=301)], tmp_path / "r")
    train = load(tmp_path / "r").curves.query("split == 'train'")
    assert len(train) == 151  # 302 rows in pairs: the last holds one finite loss and one that is not
    assert math.isnan(train["loss"].iloc[-1]) and train["loss"].iloc[:-1].notna().all()


def test_a_remainder_of_few_steps_is_joined_to_the_row_before() -> None:
    def rows(*steps: int) -> pd.DataFrame:
        losses = [float(number) for number in range(len(steps))]
        return pd.DataFrame({"step": steps, "loss": losses, "accuracy": losses})

    joined = _without_remainder(rows(50, 100, 150, 160))
    assert joined["step"].tolist() == [50, 100, 160]
    assert joined["loss"].tolist() == pytest.approx([0, 1, (50 * 2 + 10 * 3) / 60])
    for whole in (rows(50, 100, 150), rows(50, 100, 140), rows(50, 55)):
        assert _without_remainder(whole) is whole


def test_a_run_that_diverged_at_once_is_archived(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run = make_run("kaiming", [0.1], state="diverged")
    (run / "metrics.jsonl").write_text("")
    merge([run], tmp_path / "r")
    archive = load(tmp_path / "r")
    assert archive.runs["state"].tolist() == ["diverged"] and archive.curves.empty
