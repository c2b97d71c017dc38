"""Each study from its config to its page, at the smoke budget."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from idinit_suite.commands.plan import _planned_study
from idinit_suite.config.experiment import ExperimentInfo, list_experiments
from idinit_suite.errors import Preempted
from idinit_suite.report.blocks import pictures
from idinit_suite.report.update import update_results
from idinit_suite.report.wandb_report import mirror_all
from idinit_suite.studies.archive import archived_studies
from idinit_suite.studies.archive import load as load_archive
from idinit_suite.studies.config import StudyConfig, load_study
from idinit_suite.studies.page import STUDY, _options, sections
from idinit_suite.studies.runner import compute, run_study
from idinit_suite.training.run_folder import RunFolder

Asked = Callable[..., tuple[ExperimentInfo, StudyConfig]]
FEW = ["init=identity", "study.targets=[minus_identity]"]  # of theory-convergence: few panels to draw


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    """What a command line asks for, with runs and results in the test's folder."""

    def ask(name: str, *more: str) -> tuple[ExperimentInfo, StudyConfig]:
        places = [f"paths.runs={tmp_path}/runs", f"paths.results={tmp_path}/results"]
        return load_study([f"experiment={name}", "budget=smoke", *places, *more])

    return ask


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != ".lock"}


@pytest.mark.parametrize("name", list_experiments("study"))
def test_a_study_runs_and_its_results_are_made_again_from_the_archive_alone(name: str, asked: Asked) -> None:
    info, config = asked(name, *(FEW if name == "theory-convergence" else []))
    run_study(info, config)
    results = config.paths.results / name
    first = contents(results)
    (section,) = sections(load_archive(results))
    assert {f"{picture.name}.{ending}" for picture in pictures(section.blocks) for ending in ("png", "svg")} < set(first)
    assert [verdict.claim for verdict in section.verdicts] == [claim.id for claim in info.claims]
    assert all(verdict.outcome == "not run at this scale" for verdict in section.verdicts)
    assert not first.keys() & {path.name for path in config.folder.iterdir()}
    shutil.rmtree(config.paths.runs)
    update_results(info, [], results, STUDY)
    assert contents(results) == first
    run_study(info, config)
    assert not config.folder.exists(), "what is archived is not run again"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("branch", ["tasks=[digits]", "widths=[64]", "optimizers=[sgd]", "rates=[30]"]),  # most starts diverge
        ("branch", ["tasks=[teacher]", "widths=[64]", "optimizers=[sgd]", "rates=[1e9]"]),  # all do
        ("convergence", ["batches=[256]", "rates=[0.3]", "seeds=[0]"]),  # not the rate that is drawn
        ("convergence", ["batches=[256]", "targets=[rotation]", "seeds=[0]"]),
        ("convergence", ["targets=[minus_identity]", "optimizers=[sgd]", "seeds=[0]"]),
        ("convergence", ["targets=[minus_identity]", "optimizers=[momentum]", "starts=[orthogonal]", "seeds=[0]"]),
        ("dead", ["starts=[zero_end]", "seeds=[0]", "rate=1e9"]),
        ("depth", ["starts=[kaiming]", "rates=[1e9]"]),
        ("isometry", ["networks=[mlp]", "starts=[zero_gamma]", "activations=[relu]"]),  # it needs a norm
        ("isometry", ["networks=[mlp]", "starts=[zero]", "activations=[silu]"]),
        ("rank", ["starts=[zero]", "optimizers=[sgd]", "seeds=[0]", "rate=1e9"]),
    ],
)
def test_a_run_with_other_options_has_its_page(name: str, options: list[str], asked: Asked) -> None:
    info, config = asked(f"theory-{name}", *(f"study.{option}" for option in options))
    run_study(info, config)
    results = config.paths.results / info.name
    (section,) = sections(load_archive(results))
    assert [verdict.outcome for verdict in section.verdicts] == ["not run at this scale"]
    assert {f"{picture.name}.png" for picture in pictures(section.blocks)} == {path.name for path in results.glob("*.png")}


def test_an_interrupted_study_goes_on_with_the_first_missing_cell(asked: Asked) -> None:
    _, config = asked("theory-convergence")
    compute(config)
    whole = (config.folder / "metrics.jsonl").read_bytes()
    rows = [json.loads(line) for line in whole.splitlines()]
    assert [row["step"] for row in rows] == sorted(row["step"] for row in rows)
    status = RunFolder(config.folder).status()
    assert status is not None and (status["state"], status["step"], status["steps"]) == ("done", 4, 4)
    # killed in the middle of the third cell
    cut = sum(row["step"] <= 2 for row in rows) + 5
    (config.folder / "metrics.jsonl").write_bytes(b"".join(whole.splitlines(keepends=True)[:cut]) + b'{"step": 3, "ce')
    RunFolder(config.folder).write_status({**status, "state": "running", "step": 2})
    compute(config)
    assert (config.folder / "metrics.jsonl").read_bytes() == whole


def test_a_signal_stops_it_after_the_cell_in_hand(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import signal

    _, config = asked("theory-convergence")
    append = RunFolder.append

    def stop_at_the_second(self: RunFolder, row: dict[str, object]) -> None:
        append(self, row)
        if row["step"] == 2 and row["table"] == "final":
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "append", stop_at_the_second)
        with pytest.raises(Preempted, match="2 of 4"):
            compute(config)
    status = RunFolder(config.folder).status()
    assert status is not None and (status["state"], status["step"]) == ("preempted", 2)
    assert compute(config)["state"] == "done"


def test_force_runs_again_what_is_archived(asked: Asked) -> None:
    info, config = asked("theory-convergence", *FEW)
    run_study(info, config)
    shutil.rmtree(config.paths.runs)
    run_study(info, config, force=True)
    status = RunFolder(config.folder).status()
    assert status is not None and status["state"] == "done"


def test_plan_and_the_mirror_know_studies(asked: Asked) -> None:
    _, config = asked("theory-convergence", *FEW)
    places = [f"paths.results={config.paths.results}", f"paths.runs={config.paths.runs}"]
    compute(config)
    assert mirror_all([*places, "wandb.mode=offline"]) == [], "a study has no curves for W&B"
    command = ["experiment=theory-convergence", "budget=smoke", *FEW, "study.steps=3", *places]
    assert _planned_study(command)[:3] == ["1", "0", "1"]
    run_study(*load_study(command))
    assert _planned_study(command) == ["1", "1", "0", "0.00"]


def test_an_environment_whose_key_looks_like_a_number_is_found(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    info, config = asked("theory-convergence", *FEW)
    compute(config)
    results = config.paths.results / info.name
    monkeypatch.setattr("idinit_suite.studies.archive.environment_key", lambda environment: "12e45678")
    update_results(info, [config.folder], results, STUDY)
    update_results(info, [], results, STUDY)
    assert "`12e45678` (1 run)" in (results / "README.md").read_text()


def test_runs_of_several_budgets_and_options_stand_side_by_side(asked: Asked) -> None:
    for more in (["study.batches=[256]"], []):
        run_study(*asked("theory-convergence", *FEW, *more))
    info, config = asked("theory-convergence", *FEW)
    results = config.paths.results / info.name
    found = sections(load_archive(results))
    scales = [section.scale for section in found]
    assert scales == ["smoke budget", "smoke budget; batches 256"]  # the one with more cells first
    assert [section.shorter for section in found] == [False, True]  # all of the second is in the first
    assert len(archived_studies(results)) == 2
    before = contents(results)
    run_study(info, config, force=True)
    after = contents(results)
    assert {name for name in before if before[name] != after[name]} <= {"runs.csv"}, "only the time it took may differ"


def test_a_run_that_adds_a_value_is_not_folded_away(asked: Asked) -> None:
    run_study(*asked("theory-convergence", *FEW))
    info, config = asked("theory-convergence", *FEW, "study.batches=[256,128]")
    run_study(info, config)
    assert [section.shorter for section in sections(load_archive(config.paths.results / info.name))] == [False, False]


def test_options_of_an_archived_run_can_be_compared_where_one_is_gone() -> None:
    options = _options('{"name": "rank", "gone": 1, "problems": [["digits", 256, 3]]}')
    assert options["problems"] == (("digits", 256, 3),) == _options('{"name": "rank"}')["problems"]


def test_a_run_with_an_option_that_is_gone_stays_in_the_archive(asked: Asked) -> None:
    info, config = asked("theory-convergence", *FEW)
    run_study(info, config)
    results = config.paths.results / info.name
    rows = (results / "runs.csv").read_text()
    (results / "runs.csv").write_text(rows.replace('""depth"":3', '""depth"":3,""once"":1'))
    run_study(*asked("theory-convergence", *FEW, "study.batches=[256]"))
    first, second = sections(load_archive(results))
    assert first.scale == "smoke budget" and "batches 256" in second.scale
