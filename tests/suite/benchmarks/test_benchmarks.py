"""The contests of `make bench` on tiny models: who takes part, that all of them train, and what is counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from idinit.errors import UsageError
from idinit_suite.benchmarks import baselines as rivals
from idinit_suite.benchmarks import bench, initialization, write_page
from idinit_suite.benchmarks.contest import Contest
from idinit_suite.benchmarks.hf_trainer import TrainerInTurns
from idinit_suite.config import RunConfig, check, compose
from idinit_suite.data import DATASETS, DataContext
from idinit_suite.report.table import Table

RESNET = ["model=resnet", "model.depth=8", "data=digits"]
VIT = ["model=vit", "model.width=16", "model.heads=2", "model.depth=1", "model.patch=8", "data=digits", "optim=adamw"]
BERT = [
    "model=bert", "model.width=16", "model.depth=1", "model.heads=2", "model.hidden=32", "model.positions=16",
    "data=corpus", "data.length=16", "data.vocabulary=100", "optim=adamw", "optim.lr=0.01",
]  # fmt: skip
COMMON = ["data.batch_size=16", "impl.threads=1", "impl.channels_last=false", "wandb.mode=disabled"]


@pytest.fixture(autouse=True)
def _nothing_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {text: options for text, options in rivals._SETTINGS.items() if "compiled" not in options}
    monkeypatch.setattr(rivals, "_SETTINGS", settings)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "train.txt").write_text("the cat sat on the mat and the dog sat by the cat\n" * 200)
    return tmp_path


def config(root: Path, *overrides: str) -> RunConfig:
    return check(compose([*overrides, *COMMON, f"paths.data={root}", f"paths.runs={root / 'runs'}"]))


def data_of(config: RunConfig) -> Any:
    return DATASETS[config.data["name"]].build(DataContext(config.paths.data), **config.options("data"))


CONTEST = Contest("a model", "examples", {"this loop": [10.0, 2000.0, 30.0], "other": [5.0, 500.0, 10.0]}, {"commit": "abc"})


def test_a_ratio_compares_turns_of_the_same_round() -> None:
    assert CONTEST.ratio("other") == 3.0


def test_the_page_says_who_was_how_fast_and_on_what(tmp_path: Path) -> None:
    write_page([CONTEST], tmp_path / "bench", rounds=3, steps=2)
    page = (tmp_path / "bench" / "README.md").read_text()
    assert "| this loop | 30 |  |\n| other | 10 | 3.00 x |" in page
    assert "turns of 2 steps, 3 rounds" in page and "commit abc" in page


@pytest.mark.parametrize(
    ("overrides", "unit", "others"),
    [
        (RESNET, "examples", {"ordinary loop"}),
        (VIT, "examples", {"timm's loop, bf16", "timm's loop, bf16, attention not fused"}),
        (BERT, "tokens", {"transformers' Trainer, bf16", "transformers' Trainer, bf16, attention not fused"}),
    ],
    ids=["resnet", "vit", "bert"],
)
def test_each_kind_of_model_meets_its_rivals(overrides: list[str], unit: str, others: set[str], root: Path) -> None:
    contest = bench(config(root, *overrides), rounds=2, steps=1)
    assert contest.unit == unit
    assert contest.speeds.keys() == {"this loop", "same step, batch already on the device", *others}
    assert all(len(speeds) == 2 and min(speeds) > 0 for speeds in contest.speeds.values())


def test_a_text_classifier_has_no_rival(root: Path) -> None:
    with pytest.raises(UsageError, match="'textcnn'.*bert"):
        bench(config(root, "model=textcnn", "data=opinions"))


@pytest.mark.parametrize("fused", [True, False])
def test_the_trainer_takes_a_step_a_turn_and_learns(fused: bool, root: Path) -> None:
    run = config(root, *BERT)
    with TrainerInTurns(run, data_of(run), torch.device("cpu"), fused=fused) as rival:
        model: Any = rival.trainer.model
        assert model.config._attn_implementation == ("sdpa" if fused else "eager")
        before = model.bert.encoder.layer[0].intermediate.dense.weight.clone()
        for turn in range(1, 4):
            rival.step()
            assert rival.trainer.state.global_step == turn
        assert not torch.equal(before, model.bert.encoder.layer[0].intermediate.dense.weight)


def test_a_trainer_without_a_turn_ends_with_the_others(root: Path) -> None:
    run = config(root, *BERT)
    with pytest.raises(ZeroDivisionError), TrainerInTurns(run, data_of(run), torch.device("cpu")) as rival:
        raise ZeroDivisionError  # as one of the others may
    assert rival.trainer.state.global_step <= 1


def test_what_stops_the_trainer_is_told(root: Path) -> None:
    run = config(root, *BERT)
    with TrainerInTurns(run, data_of(run), torch.device("cpu")) as rival:
        rival.trainer.data_collator = None  # type: ignore[assignment]
        with pytest.raises(TypeError):
            rival.step()


def test_the_time_to_initialize(capsys: pytest.CaptureFixture[str]) -> None:
    (times,) = (
        block for block in initialization.measure(["timm:test_resnet"], ["idinit", "fixup"]) if isinstance(block, Table)
    )
    rows = [[cell.text for cell in row] for row in times.rows]
    assert [row[0] for row in rows] == ["timm:test_resnet, 0 million"] * 3
    assert [row[1] for row in rows] == ["torch.export alone", "idinit", "fixup"]
    assert all(float(row[2]) < 60 for row in rows)
    assert all(0 <= float(row[4].removesuffix(" MB").replace(",", "")) < 4000 for row in rows)
    printed = capsys.readouterr().out
    assert all(row[2] in printed for row in rows)


def test_the_memory_of_a_call_is_its_peak() -> None:
    small, large = (initialization._measured(lambda size=size: torch.ones(size))[2] for size in (10, 50_000_000))
    assert float(small.split()[0]) < 50 < 150 < float(large.split()[0]) < 300


def test_where_the_system_does_not_tell_the_memory_the_times_are_measured_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(initialization, "_STATUS", tmp_path / "status")
    monkeypatch.setattr(initialization, "_RESET", tmp_path / "nowhere" / "clear_refs")
    assert initialization._measured(lambda: None) == ("0.0", "0.0", "–")
