"""Sweeps that find finished runs of other data than are there now."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from idinit.errors import UsageError
from idinit_suite.commands.plan import plan
from idinit_suite.experiments.grid import load_experiment
from idinit_suite.experiments.runner import run

WORDS = [
    *("experiment=own", "budget=smoke", "optim.lr=0.1", "data=texts", "data.train=train.csv", "data.label=stars"),
    *("model=textcnn", "model.maps=4", "data.batch_size=8", "data.train_limit=24", "train.precision=float32"),
    *("impl.threads=1", "wandb.mode=disabled"),
]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("idinit_suite.experiments.cost.Costs.of", lambda self, config: 0.0)
    write_texts(40)


def write_texts(count: int) -> None:
    rows = {"review": [f"{number} {'good' if number % 2 else 'bad'}" for number in range(count)], "stars": count // 2 * [0, 1]}
    pd.DataFrame(rows).to_csv("train.csv", index=False)


def sweep(*more: str, forced: float | None = None) -> list[str]:
    return run(load_experiment([*WORDS, *more]), forced=forced, quiet=True)


def checksums() -> dict[str, str]:
    """Name and seed of each archived run -> checksum of the data that it was trained on."""
    results = Path("results/own")
    runs = pd.read_csv(results / "runs.csv", dtype=str)
    environments = json.loads((results / "environments.json").read_text())
    rows = zip(runs["arm"], runs["seed"], runs["environment"], strict=True)
    return {f"{arm} {seed}": environments[key]["data_checksum"] for arm, seed, key in rows}


def begin_again() -> None:
    (config,) = load_experiment([*WORDS, "init=idinit"]).main_runs({})
    status = config.folder / "status.json"
    status.write_text(json.dumps({**json.loads(status.read_text()), "state": "preempted"}))


def forget_folders() -> None:
    Path("runs").rename("runs before")


def test_a_variant_with_runs_of_other_data_is_listed_and_the_others_run() -> None:
    assert sweep("init=idinit,default") == []
    before = checksums()
    write_texts(44)
    with pytest.raises(UsageError, match="^idinit was not trained: .*force=true") as caught:
        sweep("init=idinit,kaiming", "seed=0,1")
    assert before["idinit 0"][:8] in str(caught.value) and "\n" not in str(caught.value)
    after = checksums()
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {"kaiming 0", "kaiming 1"} and after["kaiming 0"] != before["idinit 0"]


def test_where_all_is_done_on_other_data_it_is_said_once() -> None:
    sweep("init=idinit,default")
    write_texts(44)
    forget_folders()
    with pytest.raises(UsageError) as caught:
        sweep("init=idinit,default")
    assert str(caught.value).count("checksum") == 2


def test_forced_it_is_trained_again_on_what_is_there() -> None:
    sweep("init=idinit", "seed=0,1")
    before = checksums()
    write_texts(44)
    assert sweep("init=idinit", "seed=0,1", forced=time.time()) == []
    assert checksums().keys() == before.keys() and not set(checksums().values()) & set(before.values())
    assert sweep("init=idinit", "seed=0,1") == []


def test_a_forced_run_that_was_stopped_goes_on() -> None:
    """What is archived is of other data, and is about to be replaced."""
    sweep("init=idinit")
    before = checksums()
    write_texts(44)
    sweep("init=idinit", "paths.results=elsewhere", "paths.runs=elsewhere")
    forget_folders()
    Path("elsewhere").rename("runs")
    begin_again()
    assert sweep("init=idinit") == []
    assert checksums().keys() == before.keys() and checksums() != before


def test_a_variant_whose_search_was_on_other_data_is_not_trained() -> None:
    search = ["grid.tune.factors=[0.3,1,3]", "grid.tune.rungs=[1]", "+grid.tune.widen=0"]
    searched = [*(word for word in WORDS if not word.startswith("optim.lr")), *search]
    run(load_experiment([*searched, "init=idinit"]), quiet=True)
    before = checksums()
    write_texts(44)
    with pytest.raises(UsageError, match="force=true"):
        run(load_experiment([*searched, "init=idinit", "seed=1"]), quiet=True)
    assert checksums() == before


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        (lambda: None, ["3", "2", "1", "1.00"]),
        (lambda: write_texts(44), ["3", "0", "3", "1.00"]),  # kaiming alone would be trained
        (lambda: Path("train.csv").unlink(), ["3", "2", "1", "1.00"]),
        (begin_again, ["3", "1", "2", "2.00"]),
    ],
    ids=["the same data", "other data", "no data", "a run begun again"],
)
def test_plan_agrees_with_the_sweep(
    change: Callable[[], None], counts: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep("init=idinit,default")
    change()
    monkeypatch.setattr("idinit_suite.experiments.cost.Costs.of", lambda self, config: 3600.0)
    capsys.readouterr()
    plan([*WORDS, "init=idinit,default,kaiming"])
    said = capsys.readouterr().out.splitlines()
    (row,) = (line for line in said if "smoke" in line and "│" in line)
    assert [cell.strip() for cell in row.split("│")][3:7] == counts
    refused = [line for line in said if "checksum" in line]
    assert len(refused) == (counts[1] == "0") and all("idinit, default" in line and "kaiming" not in line for line in refused)


def test_data_that_are_gone_undo_nothing() -> None:
    sweep("init=idinit")
    Path("train.csv").unlink()
    assert sweep("init=idinit") == []
