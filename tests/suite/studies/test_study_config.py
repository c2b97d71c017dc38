from __future__ import annotations

from pathlib import Path

import pytest

from idinit.errors import UsageError
from idinit_suite.config.experiment import list_experiments
from idinit_suite.studies.base import STUDIES
from idinit_suite.studies.config import asks_for_a_study, hash_of_study, load_study
from idinit_suite.studies.findings import FINDINGS

NAMES = list_experiments("study")


def test_every_study_has_an_experiment_and_findings() -> None:
    assert sorted({load_study([f"experiment={name}"])[1].study["name"] for name in NAMES}) == list(STUDIES) == list(FINDINGS)


@pytest.mark.parametrize("budget", ["smoke", "cpu", "paper"])
@pytest.mark.parametrize("name", NAMES)
def test_every_budget_of_every_study_is_a_run(name: str, budget: str) -> None:
    info, config = load_study([f"experiment={name}", f"budget={budget}"])
    assert (info.name, config.experiment, config.budget) == (name, name, budget)
    assert set(config.study) == {"name", *STUDIES[config.study["name"]].options.model_fields}


@pytest.mark.parametrize("name", NAMES)
def test_every_study_says_its_command_and_deviations(name: str) -> None:
    info, _ = load_study([f"experiment={name}"])
    assert info.command == f"make {name}" and info.claims and info.deviations


def test_the_hash_is_of_the_study_and_not_of_where_it_runs(tmp_path: Path) -> None:
    here = load_study(["experiment=theory-convergence", "budget=cpu"])[1]
    there = load_study(["experiment=theory-convergence", "budget=cpu", f"paths.runs={tmp_path}", "impl.device=cpu"])[1]
    other = load_study(["experiment=theory-convergence", "budget=cpu", "study.steps=7"])[1]
    assert here.hash == there.hash != other.hash
    assert there.folder == tmp_path / "theory-convergence" / f"convergence-{here.hash}"


def test_an_option_left_out_has_its_default_in_the_hash() -> None:
    assert hash_of_study({"name": "convergence"}) == hash_of_study({"name": "convergence", "size": 10})


def test_the_words_of_make_are_the_lists_of_the_study() -> None:
    config = load_study(["experiment=theory-convergence", "seed=3,4", "init=identity"])[1]
    assert (config.study["seeds"], config.study["starts"]) == ((3, 4), ("identity",))


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("study.stepps=7", "study 'convergence': unknown key 'stepps': did you mean 'steps'"),
        ("study.steps=0", "'steps=0': input should be greater than or equal to 1"),
        ("study.name=convergenz", "unknown study 'convergenz': did you mean 'convergence'"),
        ("optim.lr=0.1", "'optim.lr' means nothing to a study"),
        ("budget=cup", "unknown budget 'cup': did you mean 'cpu'"),
        ("init=identiti", "'starts.0=identiti'"),
        ("study.rates=[]", "study 'convergence': 'rates=[]': give at least one value"),
    ],
)
def test_a_mistake_gets_one_line(argument: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_study(["experiment=theory-convergence", argument])
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_grids_and_studies_are_told_apart() -> None:
    assert not set(NAMES) & set(list_experiments("grid"))
    assert asks_for_a_study(["budget=cpu", "experiment=theory-convergence"])
    assert not asks_for_a_study(["experiment=demo"])
