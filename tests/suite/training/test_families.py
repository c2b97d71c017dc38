"""Every family of models and data in the one loop: a run that breaks off ends in the same bits as one that does not."""

from __future__ import annotations

import functools
import json
import random
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from outcomes import assert_same, outcome
from torch.profiler import ProfilerActivity, profile

from idinit.errors import UsageError
from idinit_suite.config import RunConfig, check, compose
from idinit_suite.data.mlm import packing
from idinit_suite.data.mlm import streaming as stream
from idinit_suite.data.mlm.hub import Collection
from idinit_suite.training import checkpoint, learner
from idinit_suite.training import trainer as loop
from idinit_suite.training.compile_cache import CompiledNetworks
from idinit_suite.training.distributed import Team
from idinit_suite.training.run_folder import RunFolder
from idinit_suite.training.trainer import train

COMMON = ["train.log_every=3", "impl.checkpoint_every=4", "impl.threads=1", "impl.channels_last=false", "wandb.mode=disabled"]
TEXT = [
    "data=opinions",
    "data.train_limit=60",
    "data.batch_size=20",
    "data.width=8",
    "train.epochs=4",
    "train.precision=float32",
]
BERT = ["model=bert", "model.width=16", "model.depth=1", "model.heads=2", "model.hidden=32", "model.positions=16"]
TOKENS = ["data.length=16", "data.vocabulary=200", "data.batch_size=8", "train.epochs=2", "optim=adamw", "schedule=linear"]
FAMILIES = {
    "textcnn": ["model=textcnn", "model.maps=6", *TEXT],
    "textrnn": ["model=textrnn", "model.hidden=6", *TEXT],
    "text_transformer": ["model=text_transformer", "model.width=8", "model.heads=2", "model.hidden=16", *TEXT],
    "vit": [
        "model=vit", "model.width=16", "model.heads=2", "model.depth=2", "model.patch=8", "model.drop_path=0.2",
        "data=digits", "data.train_limit=64", "data.batch_size=16", "train.epochs=3", "optim=adamw",
        "train.precision=float32",
    ],
    "resnet with averaged weights": [
        "model=resnet", "model.depth=8", "model.norm=batch", "data=digits", "data.train_limit=64", "data.batch_size=16",
        "train.epochs=3", "train.precision=float32", "train.ema=0.9",
    ],
    "bert": [*BERT, *TOKENS, "data=corpus", "data.train_limit=48", "train.accumulate=2", "train.clip_norm=1"],
    "bert on a stream": [
        *BERT, *TOKENS, "data=wikipedia_books", "data.tokenizer=null",
        "data.block=24", "data.validation=8", "data.epoch_steps=6",
    ],
}  # fmt: skip


RESNET = ["model=resnet", "model.depth=8", "data=digits", "data.train_limit=64", "data.batch_size=16", "train.epochs=3"]
RESNET += ["train.precision=float32"]
# What waits for the device: a value, or a shape that depends on values, comes to the host.
WAITS = {"_local_scalar_dense", "item", "is_nonzero", "nonzero", "masked_select", "_unique2", "bincount", "equal", "allclose"}


class Broken(BaseException):
    """As if the process had been killed."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a corpus, and folders that stand for repositories of the hub."""
    root = tmp_path_factory.mktemp("data")
    draw = random.Random(0)
    lines = [" ".join(f"w{draw.randrange(90)}" for _ in range(draw.randint(3, 30))) for _ in range(150)]
    for folder in ("corpus", "articles", "books"):
        (root / folder).mkdir()
    (root / "corpus" / "train.txt").write_text("\n".join(lines))
    for folder, some in (("articles", lines[:30]), ("books", lines[30:50])):
        (root / folder / "train.jsonl").write_text("\n".join(json.dumps({"text": line}) for line in some))
    return root


@pytest.fixture(autouse=True)
def _folders_for_the_hub(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collections = (Collection(str(root / "articles"), None, 2), Collection(str(root / "books"), None, 1, joined=2))
    monkeypatch.setattr(stream, "WIKIPEDIA_BOOKS", collections)
    monkeypatch.setattr(stream, "_TRAINED_ON", 100)
    monkeypatch.setattr(packing, "_ENCODED_AT_ONCE", 7)  # or all would be read before the first step
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", root / "hub")


def config(family: str, root: Path, runs: Path) -> RunConfig:
    return check(compose([*FAMILIES[family], *COMMON, f"paths.data={root}", f"paths.runs={runs}"]))


def break_off(run: RunConfig, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trains a run up to a step."""
    update = loop.Training.update

    def broken(training: loop.Training) -> None:
        if training.step == step:
            raise Broken
        update(training)

    with monkeypatch.context() as patch, pytest.raises(Broken):
        patch.setattr(loop.Training, "update", broken)
        train(run)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_broken_off_at_any_step_it_ends_in_the_same_bits(
    family: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = config(family, root, tmp_path / "whole"), config(family, root, tmp_path / "broken")
    assert train(whole)["state"] == "done"
    for step in (2, 6, 11):  # before the first checkpoint, after one, at the last step
        break_off(broken, step, monkeypatch)
        status = RunFolder(broken.folder).status()
        assert status is not None and status["state"] == "running"
    assert train(broken)["state"] == "done"
    for one, two in zip(outcome(broken), outcome(whole), strict=True):
        assert_same(one, two)


def in_fused_optimizer(event: Any) -> bool:
    """Whether a fused optimizer called an operator: its kernel for the CPU, unlike CUDA's, reads the number of the step."""
    while event.cpu_parent is not None:
        event = event.cpu_parent
        if event.name.startswith("aten::_fused_"):
            return True
    return False


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("family", ["resnet", *FAMILIES])
def test_a_step_waits_for_nothing(
    family: str, compiled: bool, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if family == "textrnn":
        pytest.skip("packed sequences take their lengths from the host: torch's interface to recurrent kernels")
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))  # the graph is what counts
    words = [*{**FAMILIES, "resnet": RESNET}[family], *COMMON, f"train.compile={compiled}", "train.clip_norm=1"]
    run = check(compose([*words, f"paths.data={root}", f"paths.runs={tmp_path}"]))
    team = Team(0, 1, torch.device("cpu"))
    training = loop.Training(run, team, RunFolder(run.folder), CompiledNetworks(), threading.Event())
    if family.startswith("text"):  # texts are on the host, where their lengths are known
        held = training.learner.data.train_batch(0)
        monkeypatch.setattr(training.learner.data, "train_batch", lambda step: held)
    for _ in range(2):
        training.update()

    def waits(*_: object) -> None:
        raise AssertionError("a step waits for the device")

    with monkeypatch.context() as patch, profile(activities=[ProfilerActivity.CPU]) as profiled:
        for name in ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__"):
            patch.setattr(torch.Tensor, name, waits)
        training.update()
    names = {event.name.removeprefix("aten::") for event in profiled.events() if not in_fused_optimizer(event)}
    assert not WAITS & names
    assert any("_fused_" in event.name for event in profiled.events()), "the optimizer takes the flag of a loss"


@pytest.mark.parametrize(("family", "units"), [("vit", True), ("vit", False), ("bert", True)])
def test_activations_that_are_computed_again_give_the_same_bits(
    family: str, units: bool, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("idinit_suite.training.precision.has_bfloat16_units", lambda: units)
    runs = []
    for kept in ("true", "false"):
        words = [*FAMILIES[family], *COMMON, "model.depth=2", "train.epochs=1", "train.precision=bf16"]
        words.append(f"impl.checkpoint_activations={kept}")
        runs.append(check(compose([*words, f"paths.data={root}", f"paths.runs={tmp_path}/{kept}"])))
        train(runs[-1])
        environment = json.loads((runs[-1].folder / "env.json").read_text())
        assert environment.get("bfloat16") == (None if units else "by rounding")
    assert runs[0].hash == runs[1].hash
    for one, two in zip(*map(outcome, runs), strict=True):
        assert_same(one, two)


def test_blocks_that_cannot_be_computed_again_are_refused(root: Path, tmp_path: Path) -> None:
    for words, message in (
        (["model=mlp", *RESNET[2:]], "repeated blocks"),
        ([*RESNET, "model.depth=14", "model.norm=batch", "init=default"], "BatchNorm"),
    ):
        words = [*words, *COMMON, "impl.checkpoint_activations=true", f"paths.data={root}", f"paths.runs={tmp_path}"]
        with pytest.raises(UsageError, match=message):
            train(check(compose(words)))


def test_fp16_goes_on_with_the_scale_of_its_loss(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [*FAMILIES["vit"], *COMMON, "train.precision=fp16", f"paths.data={root}"]
    whole, broken = (check(compose([*words, f"paths.runs={tmp_path}/{name}"])) for name in ("whole", "broken"))
    assert train(whole)["state"] == "done"
    break_off(broken, 6, monkeypatch)
    assert train(broken)["state"] == "done"
    states = [checkpoint.load_latest(run.folder / "checkpoints") for run in (whole, broken)]
    assert states[0] is not None and states[0]["scaler"]["scale"] > 0
    assert_same(states[0], states[1])


def test_it_does_not_go_on_with_other_code(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = config("textcnn", root, tmp_path)
    break_off(run, 6, monkeypatch)
    build = learner.build

    def with_one_more(*arguments: Any) -> Any:
        model, report = build(*arguments)
        model.added = torch.nn.Parameter(torch.zeros(1))
        return model, report

    with monkeypatch.context() as patch, pytest.raises(UsageError, match="other code"):
        patch.setattr(learner, "build", with_one_more)
        train(run)
    status = RunFolder(run.folder).status()
    assert status is not None and (status["state"], status["step"]) == ("failed", 4)
    assert train(run)["state"] == "done"


def test_metrics_that_were_lost_are_made_again(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole, broken = config("textcnn", root, tmp_path / "whole"), config("textcnn", root, tmp_path / "broken")
    train(whole)
    break_off(broken, 9, monkeypatch)
    (broken.folder / "metrics.jsonl").unlink()
    train(broken)
    assert "made again from the checkpoint" in caplog.text
    assert_same(outcome(broken)[1], outcome(whole)[1])


def test_a_process_without_a_text_to_evaluate_holds_up_no_other(root: Path, tmp_path: Path) -> None:
    # What is held out is less than the first process's share of a batch. Their number counts, as each draws its dropout.
    run = config("bert", root, tmp_path).model_copy(update={"processes": 2})
    script = Path(__file__).parents[3] / "scripts" / "train.py"
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words = [*FAMILIES["bert"], *COMMON, f"paths.data={root}", f"paths.runs={tmp_path}"]
    done = subprocess.run([*launch, str(script), *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    status = RunFolder(run.folder).status()
    assert status is not None and status["state"] == "done"


def test_it_does_not_go_on_with_other_data(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "corpus").mkdir()
    text = (root / "corpus" / "train.txt").read_text()
    (tmp_path / "corpus" / "train.txt").write_text(text.replace("w1", "v"))
    here, elsewhere = (config("bert", data, tmp_path / "runs") for data in (root, tmp_path))
    assert here.folder == elsewhere.folder
    break_off(here, 6, monkeypatch)
    before = (here.folder / "env.json").read_bytes()
    with pytest.raises(UsageError, match=rf"{here.name}.* corpus .*\(checksum \w+, now \w+\)"):
        train(elsewhere)
    assert (here.folder / "env.json").read_bytes() == before
    assert train(here)["state"] == "done"


def test_it_goes_on_from_a_checkpoint_of_before_data_were_compared(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = config("textcnn", root, tmp_path)
    break_off(run, 6, monkeypatch)
    state = checkpoint.load_latest(run.folder / "checkpoints")
    assert state is not None and state.pop("data_checksum")
    checkpoint.save(run.folder / "checkpoints", state["step"], state)
    assert train(run)["state"] == "done"


def test_the_environment_says_what_share_of_the_words_has_vectors(root: Path, tmp_path: Path) -> None:
    (root / "vectors").mkdir()
    words = [f"{word}{number}" for word in ("good", "bad") for number in range(6)]
    (root / "vectors" / "mine.txt").write_text("\n".join(f"{word} {' '.join('12345678')}" for word in words))
    where = [f"paths.data={root}", f"paths.runs={tmp_path}"]
    run = check(compose([*FAMILIES["textcnn"], *COMMON, *where, "data.vectors=mine.txt"]))
    train(run)
    environment = json.loads((run.folder / "env.json").read_text())
    assert environment["data_source"] == "made-up opinions"
    assert 0.1 < environment["words_with_vectors"] < 0.3


@pytest.mark.parametrize("family", list(FAMILIES))
def test_what_is_told_of_a_run(family: str, root: Path, tmp_path: Path) -> None:
    status = train(config(family, root, tmp_path))
    is_language_model = "bert" in family
    assert status["steps"] == 12
    assert status["tokens"] == (12 * 8 * 16 if is_language_model else None)
    assert status["final"].keys() == {"train", "validation"} | (set() if is_language_model else {"test"})
    if family == "textrnn":  # packing needs values, and operations are counted without
        assert status["flops"] is None
    else:
        assert status["flops"] > 0


def test_a_model_and_data_that_do_not_fit_are_told() -> None:
    with pytest.raises(UsageError, match="'textcnn'.*'cifar10'.*opinions, .*sst2, sst5"):
        check(compose(["model=textcnn", "data=cifar10"]))
    with pytest.raises(UsageError, match="'bert'.*'sst2'.*corpus, wikipedia_books"):
        check(compose(["model=bert", "data=sst2"]))
