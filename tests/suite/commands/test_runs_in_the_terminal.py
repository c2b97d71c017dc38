"""``python -m idinit_suite compare`` and ``status``, on runs that the sweep has made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from idinit.errors import UsageError
from idinit_suite.commands import main
from idinit_suite.config import RunConfig
from idinit_suite.experiments.grid import load_experiment
from idinit_suite.experiments.runner import run as sweep
from idinit_suite.training.progress import console
from idinit_suite.training.run_folder import RunFolder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[RunConfig]]:
    """The folder of two finished runs, beside their archive."""
    folder = tmp_path_factory.mktemp("made")
    places = [f"paths.{place}={folder}/{place}" for place in ("data", "runs", "results")]
    tiny = ["model=resnet", "model.depth=8", "data.batch_size=16", "data.train_limit=32", "impl.threads=1", "train.epochs=2"]
    grid = load_experiment(["experiment=demo", "budget=smoke", "init=idinit,fixup", "wandb.mode=disabled", *tiny, *places])
    assert sweep(grid) == []
    return folder, grid.main_runs({})


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(type(console), "width", 120)
    yield


def places(folder: Path) -> list[str]:
    return ["--in", str(folder / "runs"), "--results", str(folder / "results")]


def test_runs_are_found_by_folder_by_name_and_by_hash(
    runs: tuple[Path, list[RunConfig]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder, (idinit, fixup) = runs
    said = []
    for name in (str(fixup.folder), fixup.name[:-2], fixup.hash):
        main(["compare", idinit.hash, name, *places(folder)])
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] == said[2]
    lines = {line.split("  ")[0].strip(): line.split() for line in said[0].splitlines()}
    assert lines["init.name"] == ["init.name", "idinit", "fixup"]
    assert lines["state"] == ["state", "done", "done"] and lines["epoch"] == ["epoch", "2", "2"]
    finals = [json.loads((run.folder / "status.json").read_text())["final"]["test"]["accuracy"] for run in (idinit, fixup)]
    assert lines["test accuracy"] == ["test", "accuracy", *(word for a in finals for word in (f"{100 * a:.1f}", "%"))]
    assert "validation accuracy in percent, by epoch" in said[0] and "optim.lr" not in lines
    assert said[0].count("●") > 5 and said[0].count("▲") > 5, "there is no plot"


def test_an_archived_run_whose_folder_is_gone_is_compared(
    runs: tuple[Path, list[RunConfig]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder, (idinit, fixup) = runs
    shutil.copytree(folder / "results", tmp_path / "results")
    study = tmp_path / "results" / "theory-rank"  # an archive of another kind, as results/ has them
    study.mkdir()
    (study / "runs.csv").write_text("hash,study,budget,cells,time_s,environment,options\n")
    said = []
    for names in ((idinit.hash, fixup.hash[:6]), (idinit.name, fixup.name[:-3])):
        main(["compare", *names, *places(tmp_path)])
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert idinit.name in said[0] and fixup.name in said[0] and "init.name" in said[0] and "nan" not in said[0]


@pytest.mark.parametrize("where", ["runs", "archive"])
@pytest.mark.parametrize(("name", "message"), [("nothing", "'nothing'"), ("", "2 runs")])
def test_a_name_that_is_not_one_run_is_refused(
    runs: tuple[Path, list[RunConfig]], name: str, message: str, where: str, tmp_path: Path
) -> None:
    if where == "archive":
        shutil.copytree(runs[0] / "results", tmp_path / "results")
    with pytest.raises(UsageError, match=message):
        main(["compare", name, *places(tmp_path if where == "archive" else runs[0])])


def test_a_study_has_no_curves_to_compare(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "theory-depth" / "depth-0123abcd"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("experiment: theory-depth\nstudy: {name: depth}\n")
    (folder / "status.json").write_text(json.dumps({"state": "done", "hash": "0123abcd", "step": 1, "steps": 1, "time_s": 1.0}))
    (folder / "metrics.jsonl").write_text("")
    with pytest.raises(UsageError, match="'depth-0123abcd' is a study"):
        main(["compare", "depth-0123abcd", *places(tmp_path)])


def test_status_counts_states_and_shows_what_is_unfinished(
    runs: tuple[Path, list[RunConfig]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shutil.copytree(runs[0] / "runs", tmp_path / "runs")
    changed = tmp_path / "runs" / "demo" / runs[1][0].name / "status.json"
    changed.write_text(json.dumps({**json.loads(changed.read_text()), "state": "running", "step": 1}))
    main(["status", "--in", str(tmp_path / "runs")])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[:2]] == [
        ["experiment", "done", "diverged", "running", "preempted", "failed"],
        ["demo", "1", "1"],
    ]
    (row,) = [line for line in lines if line.startswith(runs[1][0].name)]
    assert "running (no process)" in row and row.rstrip().endswith("1/4")
    assert "repeat its command to resume it" in " ".join(lines[-2:])
    with RunFolder(changed.parent):
        main(["status", "--in", str(tmp_path / "runs")])
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith(runs[1][0].name)]
    assert "no process" not in row and row.rstrip().endswith("1/4")
    main(["status", "--in", str(tmp_path / "none")])
    assert "no runs in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "content"),
    [
        *(("status.json", content) for content in ("[1]", "{}", '{"state": "done"}', "{")),
        *(("metrics.jsonl", content) for content in ("[1]\n", "{}\n", "nonsense\n{}\n")),
        *(("config.yaml", content) for content in ("[1]", "", "a: b: c")),
    ],
)
def test_a_damaged_run_folder_is_told(runs: tuple[Path, list[RunConfig]], file: str, content: str, tmp_path: Path) -> None:
    folder = shutil.copytree(runs[1][0].folder, tmp_path / runs[1][0].name)
    (folder / file).write_text(content)
    with pytest.raises(UsageError) as caught:
        main(["compare", str(folder), str(runs[1][1].folder), *places(runs[0])])
    assert str(caught.value).startswith(f"run folder '{folder.name}' cannot be read: ") and "\n" not in str(caught.value)
