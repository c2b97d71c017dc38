"""Whatever somebody types, a command ends as the contracts say: never with a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig

from idinit_suite.build_all import selection
from idinit_suite.cli import run_command
from idinit_suite.config import GROUPS, check, compose
from idinit_suite.config.experiment import list_experiments
from idinit_suite.errors import EXIT_OK, EXIT_USAGE
from idinit_suite.experiments.grid import load_experiment, select
from idinit_suite.report.wandb_report import build_report, mirror_all
from idinit_suite.studies.config import load_study


def sweep(overrides: Sequence[str]) -> None:
    experiment = load_experiment(overrides)
    experiment.main_runs({}, experiment.points()[:2])


# The part of each command that comes before it reads data or trains.
COMMANDS: dict[str, Callable[[Sequence[str]], Any]] = {
    "train": lambda overrides: check(compose(overrides)),
    "sweep": lambda overrides: sweep(["experiment=demo", *overrides]),
    "study": lambda overrides: load_study(["experiment=theory-rank", *overrides]),
    "plan": select,
    "report": selection,
    "mirror": lambda overrides: mirror_all(["paths.runs=nowhere", *overrides]),
    "wandb report": build_report,
}


def keys(config: DictConfig, above: str = "") -> Iterator[str]:
    for key, value in config.items_ex(resolve=False):
        yield f"{above}{key}"
        if isinstance(value, DictConfig):
            yield from keys(value, f"{above}{key}.")


KEYS = sorted(
    {key for chosen in ([], ["experiment=demo"], ["optim=adamw"], ["launcher=slurm"]) for key in keys(compose(chosen))}
)
CHOICES = [f"{group}={name}" for group, registry in GROUPS.items() for name in registry]
CHOICES += [f"experiment={name}" for kind in ("grid", "study") for name in list_experiments(kind)]
SPECIAL = [
    "null",
    "true",
    "false",
    "inf",
    "-inf",
    "nan",
    "1e30",
    "-1",
    "0",
    "99999999999999999999999",
    "abc",
    "",
    "''",
    "[]",
    "{}",
]
SPECIAL += [
    "[1,true]",
    "{a: 1}",
    "1,2",
    "range(3)",
    "${seed}",
    "${nowhere}",
    "???",
    "0.5",
    "1e-300",
    "1e308",
    "'inf'",
    "100000",
]
numbers = st.one_of(st.integers(), st.floats()).map(str)
values = st.one_of(st.sampled_from(SPECIAL), numbers, st.text("abc019.,:=-+~[]{}'\" $", max_size=8))
single = st.builds(lambda prefix, key, value: f"{prefix}{key}={value}", st.sampled_from(["", "", "", "+", "++", "~"]),
                   st.sampled_from(KEYS), values)  # fmt: skip
overrides = st.lists(st.one_of(single, single, st.sampled_from(CHOICES)), min_size=1, max_size=3)


def ends(command: str, words: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> int:
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", [command, *words])
        run_command(lambda: COMMANDS[command](sys.argv[1:]))
    return ended.value.code


@pytest.mark.filterwarnings("default")
@settings(
    max_examples=500,  # of two overrides each on average
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # composing takes a tenth of a second, so what fails is shown as it was drawn
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(command=st.sampled_from([*COMMANDS, "train", "sweep"]), words=overrides)
def test_any_override_ends_as_the_contracts_say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, words: list[str]
) -> None:
    capsys.readouterr()
    code = ends(command, words, monkeypatch)
    said = capsys.readouterr().err
    assert code in (EXIT_OK, EXIT_USAGE)
    if code == EXIT_USAGE:
        assert said.startswith("idinit: ") and said.count("\n") == 1, said


@pytest.mark.parametrize(
    ("command", "word"),
    [
        *(("train", f"train.epochs={value}") for value in ("inf", "1e30", "true", "nan")),
        *(("sweep", f"launcher.jobs={value}") for value in ("0", "abc", "true")),
        *(("train", word) for word in ("experiment=null", "experiment=3", "recipe=null", "model=3", "init=", "=3", "+=3")),
        *(("train", f"{key}=inf") for key in ("optim.weight_decay", "data.mixup", "init.tau", "train.clip_norm")),
        *(("train", word) for word in ("impl.threads=100000", "model.width=100000", "seed=12345678901234567890123")),
        *(("sweep", word) for word in ("seed=12345678901234567890123", "budget=null")),
        ("mirror", "wandb.mode=nope"),
        ("mirror", "wandb.mode=offline"),
        ("report", "optim.lr=1"),
        ("report", "experiment=dmo"),
        ("plan", "experiment=dmo"),
    ],
)
def test_a_mistake_ends_with_code_2(command: str, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ends(command, [word], monkeypatch) == EXIT_USAGE
