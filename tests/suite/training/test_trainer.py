"""The loop on real (tiny) runs: what it writes, exact resume, divergence, signals, several processes."""

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from digits_runs import RESNET8, digits_run
from outcomes import assert_same, outcome

from idinit.errors import UsageError
from idinit_suite.config import RunConfig
from idinit_suite.data import DATASETS, DataContext
from idinit_suite.data.base import micro_batches
from idinit_suite.training import checkpoint
from idinit_suite.training.build import build
from idinit_suite.training.compile_cache import CompiledNetworks
from idinit_suite.training.distributed import Team
from idinit_suite.training.run_folder import RunFolder, read_metrics
from idinit_suite.training.trainer import Training, train

STEPS = 12
SMALL = ["data.train_limit=64", "train.epochs=3", "train.log_every=3", "impl.checkpoint_every=4"]
WORDS = [*RESNET8, *SMALL]  # of a process of its own


def config(folder: Path, *overrides: str) -> RunConfig:
    return digits_run(SMALL, folder, *overrides)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """A run that nothing disturbed."""
    run = config(tmp_path_factory.mktemp("finished"))
    assert train(run)["state"] == "done"
    return run


def test_a_run_folder_holds_what_the_contract_says(finished: RunConfig) -> None:
    assert {p.name for p in finished.folder.iterdir()} >= {
        "config.yaml",
        "env.json",
        "metrics.jsonl",
        "status.json",
        "checkpoints",
    }
    status = json.loads((finished.folder / "status.json").read_text())
    assert (status["state"], status["step"], status["steps"], status["hash"]) == ("done", STEPS, STEPS, finished.hash)
    rows = read_metrics(finished.folder / "metrics.jsonl")
    assert [(r["step"], r["split"]) for r in rows] == [
        (0, "validation"), (0, "test"),
        (3, "train"), (4, "validation"), (4, "test"),
        (6, "train"), (8, "validation"), (8, "test"),
        (9, "train"), (12, "train"), (12, "validation"), (12, "test"),
    ]  # fmt: skip
    assert {r["step"]: r["epoch"] for r in rows}[6] == 1.5
    assert status["final"]["test"] == rows[-1]
    environment = json.loads((finished.folder / "env.json").read_text())
    assert environment["torch"] == torch.__version__ and len(environment["data_checksum"]) == 64


def test_a_finished_run_is_not_run_again(finished: RunConfig) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished.folder.rglob("*") if p.is_file() and p.name != ".lock"}
    assert train(finished)["state"] == "done"
    assert {p: p.stat().st_mtime_ns for p in before} == before


KILLER = """
import os, signal, sys
from idinit_suite.config import check, compose
from idinit_suite.data.images import batches as loader
from idinit_suite.training.trainer import train

kill_at, number = int(sys.argv[1]), int(sys.argv[2])
original = loader.ImageBatches.train_batch

def train_batch(self, step):
    if step == kill_at:
        os.kill(os.getpid(), number)
    return original(self, step)

loader.ImageBatches.train_batch = train_batch
from idinit_suite.cli import run_command
run_command(lambda: train(check(compose(sys.argv[3:]))))
"""


def run_and_signal(run: RunConfig, step: int, number: int) -> subprocess.CompletedProcess[str]:
    """Trains in a process of its own that gets a signal while it prepares a step."""
    overrides = [*WORDS, f"paths.runs={run.paths.runs}", f"paths.data={run.paths.data}"]
    command = [sys.executable, "-c", KILLER, str(step), str(number), *overrides]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_killed_at_any_step_and_its_metrics_damaged_it_ends_in_the_same_bits(
    finished: RunConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = config(tmp_path)
    for step in (2, 5, 11):  # before the first checkpoint, after one, at the last step
        assert run_and_signal(run, step, signal.SIGKILL).returncode == -signal.SIGKILL
        status = RunFolder(run.folder).status()
        assert status is not None and status["state"] == "running"
    rows = run.folder / "metrics.jsonl"
    rows.write_text("".join(rows.read_text().splitlines(keepends=True)[1:3]) + "nonsense\n")
    assert train(run)["state"] == "done"
    assert "made again from the checkpoint" in caplog.text
    for one, two in zip(outcome(run), outcome(finished), strict=True):
        assert_same(one, two)


def test_sigterm_saves_and_exits_75(finished: RunConfig, tmp_path: Path) -> None:
    run = config(tmp_path)
    stopped = run_and_signal(run, 6, signal.SIGTERM)
    assert stopped.returncode == 75, stopped.stderr
    assert "saved at step 7 of 12" in stopped.stderr
    status = RunFolder(run.folder).status()
    assert status is not None and (status["state"], status["step"]) == ("preempted", 7)
    assert train(run)["state"] == "done"
    for one, two in zip(outcome(run), outcome(finished), strict=True):
        assert_same(one, two)


def test_a_damaged_checkpoint_falls_back_and_ends_in_the_same_bits(
    finished: RunConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = config(tmp_path)
    run_and_signal(run, 10, signal.SIGKILL)
    newest = max((run.folder / "checkpoints").glob("*.pt"))
    newest.write_bytes(newest.read_bytes()[:1000])
    assert train(run)["state"] == "done"
    assert "falling back to the previous" in caplog.text
    for one, two in zip(outcome(run), outcome(finished), strict=True):
        assert_same(one, two)


def test_a_loss_that_is_not_finite_ends_the_run_before_the_update(tmp_path: Path) -> None:
    run = config(tmp_path, "init=kaiming", "optim.lr=1e30", "impl.checkpoint_every=1", "schedule=constant")
    status = train(run)
    assert status["state"] == "diverged" and "not finite" in status["reason"]
    state = checkpoint.load_latest(run.folder / "checkpoints")
    assert state is not None and state["step"] == status["step"] < STEPS
    on_disk = json.loads((run.folder / "status.json").read_text())
    assert on_disk["state"] == "diverged"
    assert train(run) == on_disk  # a result, not run again


def test_a_last_update_that_breaks_the_network_is_a_divergence(tmp_path: Path) -> None:
    run = config(tmp_path, "optim.lr=1e38", "schedule=constant", "train.epochs=0.25")
    status = train(run)
    assert (status["state"], status["step"]) == ("diverged", 1)
    assert status["reason"] == "loss is not finite after the last step"


def test_sigterm_in_the_last_step_is_obeyed(tmp_path: Path) -> None:
    run = config(tmp_path)
    stopped = run_and_signal(run, STEPS - 1, signal.SIGTERM)
    assert stopped.returncode == 75, stopped.stderr
    status = RunFolder(run.folder).status()
    assert status is not None and status["state"] == "done"


def test_the_same_seed_gives_every_initializer_the_same_batches(tmp_path: Path) -> None:
    loaders = [
        DATASETS["digits"].build(DataContext(tmp_path, run.seed, channels_last=True), **run.options("data"))
        for run in (config(tmp_path, "init=idinit"), config(tmp_path, "init=kaiming"))
    ]
    for step in (0, 5, 11):
        one, two = (loader.train_batch(step) for loader in loaders)
        assert torch.equal(one[0][0], two[0][0]) and torch.equal(one[1], two[1])


def test_a_second_process_on_the_same_run_is_refused(tmp_path: Path) -> None:
    run = config(tmp_path)
    with RunFolder(run.folder), pytest.raises(UsageError, match="another process"):
        train(run)


def test_a_search_run_never_looks_at_the_test_split(tmp_path: Path) -> None:
    run = config(tmp_path, "phase=tune")
    train(run)
    assert {row["split"] for row in read_metrics(run.folder / "metrics.jsonl")} == {"train", "validation"}


def test_clipping_bounds_the_update(tmp_path: Path) -> None:
    rate, norm = 0.5, 1e-3
    recipe = ["optim.momentum=0", "optim.weight_decay=0", f"optim.lr={rate}", "schedule=constant", "train.epochs=0.25"]
    run = config(tmp_path, *recipe, f"train.clip_norm={norm}")
    train(run)
    state = checkpoint.load_latest(run.folder / "checkpoints")
    assert state is not None and state["step"] == 1
    data = DATASETS["digits"].build(DataContext(tmp_path, run.seed, channels_last=True), **run.options("data"))
    before = build(run, data)[0].state_dict()
    moved = sum((state["model"][name] - before[name]).square().sum() for name in before)
    assert moved.sqrt().item() == pytest.approx(rate * norm, rel=1e-3)


def test_a_batch_passed_in_parts_takes_the_same_step(tmp_path: Path) -> None:
    whole, parts = (config(tmp_path / n, f"train.accumulate={n}", "train.precision=float32") for n in ("1", "4"))
    for run in (whole, parts):
        train(run)
    (one, rows_one), (two, rows_two) = outcome(whole), outcome(parts)
    assert [row["loss"] for row in rows_two] == pytest.approx([row["loss"] for row in rows_one], rel=1e-4)
    assert [row["accuracy"] for row in rows_two] == pytest.approx([row["accuracy"] for row in rows_one], abs=0.02)
    for name, weight in one["model"].items():
        assert torch.allclose(weight, two["model"][name], rtol=1e-3, atol=1e-5), name
    with pytest.raises(UsageError, match=r"train\.accumulate=7.* 16"):
        micro_batches((torch.zeros(16),), torch.zeros(16), 7)


def test_a_batch_that_cannot_be_shared_out_is_refused_before_data_are_read(tmp_path: Path) -> None:
    run = config(tmp_path, "data=cifar10", "train.accumulate=8")  # which is not there
    team = Team(0, 4, torch.device("cpu"))
    message = r"data\.batch_size=16.* 32 .*train\.accumulate=8.* 4"
    with pytest.raises(UsageError, match=message):
        Training(run, team, RunFolder(run.folder), CompiledNetworks(), threading.Event())


def test_a_run_of_two_processes_is_not_trained_by_one(tmp_path: Path) -> None:
    run = config(tmp_path, "model.norm=batch", "train.sync_batchnorm=false", "launcher.processes=2")
    with pytest.raises(UsageError, match=f"run {run.name} is one of 2 processes: start it by torchrun --nproc-per-node=2"):
        train(run)


def train_in_two_processes(run: RunConfig, *overrides: str) -> None:
    script = Path(__file__).parents[3] / "scripts" / "train.py"
    places = [f"paths.runs={run.paths.runs}", f"paths.data={run.paths.data}"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run([*launch, str(script), *WORDS, *places, *overrides], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_two_processes_see_the_same_data_and_agree_with_one(tmp_path: Path) -> None:
    single, double = config(tmp_path / "one", "train.precision=float32"), config(tmp_path / "two", "train.precision=float32")
    train(single)
    train_in_two_processes(double, "train.precision=float32")
    (one, rows_one), (two, rows_two) = outcome(single), outcome(double)
    for name, weight in one["model"].items():
        assert torch.allclose(weight, two["model"][name], rtol=1e-3, atol=1e-5), name
    assert [(r["step"], r["split"]) for r in rows_one] == [(r["step"], r["split"]) for r in rows_two]
    assert [r["loss"] for r in rows_two] == pytest.approx([r["loss"] for r in rows_one], rel=1e-3)
    assert json.loads((double.folder / "env.json").read_text())["processes"] == 2


def test_batchnorm_is_over_the_batch_of_all_processes(tmp_path: Path) -> None:
    overrides = ["init=default", "model.norm=batch", "optim.lr=0.001", "train.precision=float32", "train.epochs=1"]
    single, double = config(tmp_path / "one", *overrides), config(tmp_path / "two", *overrides)
    train(single)
    train_in_two_processes(double, *overrides)
    (one, _), (two, _) = outcome(single), outcome(double)
    for name, value in one["model"].items():
        assert torch.allclose(value, two["model"][name], rtol=1e-3, atol=1e-5), name


def test_two_processes_evaluate_the_network_that_is_saved(tmp_path: Path) -> None:
    # 17 images make two batches for one process and one for the other; BatchNorm's statistics are of each one's share.
    overrides = ["model.norm=batch", "train.sync_batchnorm=false", "data.validation=17", "train.precision=float32"]
    run = config(tmp_path, *overrides).model_copy(update={"processes": 2})
    train_in_two_processes(run, *overrides)
    state, rows = outcome(run)
    data = DATASETS["digits"].build(DataContext(tmp_path, run.seed, channels_last=True), **run.options("data"))
    model = build(run, data)[0].eval()
    model.load_state_dict(state["model"])
    for split in ("validation", "test"):
        with torch.no_grad():
            answers = [(model(*inputs), targets) for inputs, targets in data.evaluation_batches(split)]
        logits, targets = (torch.cat(parts) for parts in zip(*answers, strict=True))
        loss = torch.nn.functional.cross_entropy(logits, targets).item()
        assert [row["loss"] for row in rows if row["split"] == split][-1] == pytest.approx(loss, rel=1e-5)


def test_compiled_runs_share_one_network_and_match_eager(tmp_path: Path) -> None:
    compiled = CompiledNetworks()
    for seed in (0, 1):
        eager = config(tmp_path / "eager", f"seed={seed}", "train.precision=float32")
        fast = config(tmp_path / "fast", f"seed={seed}", "train.precision=float32", "train.compile=true")
        train(eager)
        train(fast, compiled)
        losses = [[row["loss"] for row in outcome(run)[1]] for run in (eager, fast)]
        assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert len(compiled._known) == 1


def test_the_step_of_a_divergence_does_not_depend_on_when_it_is_seen(tmp_path: Path) -> None:
    wild = [
        "init=kaiming",
        "optim.lr=1e6",
        "schedule=constant",
        "train.log_every=50",
        "train.evaluate_every=100",
        "train.epochs=8",
    ]
    seen = []
    for every in (1, 16):
        run = config(tmp_path / str(every), *wild, f"impl.check_every={every}", "impl.checkpoint_every=100")
        status = train(run)
        rows = [row for row in read_metrics(run.folder / "metrics.jsonl") if row["split"] != "train"]
        seen.append((status["state"], status["step"], status["reason"], rows))
    assert seen[0] == seen[1] and seen[0][0] == "diverged" and 0 < seen[0][1] < 16


LOSER = """
import os, signal, sys
from idinit_suite.config import check, compose
from idinit_suite.data.images import batches as loader
from idinit_suite.training.trainer import train

original = loader.ImageBatches.train_batch

def train_batch(self, step):
    if step == 6 and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, step)

loader.ImageBatches.train_batch = train_batch
from idinit_suite.cli import run_command
run_command(lambda: train(check(compose(sys.argv[1:]))))
"""


def test_a_process_that_is_killed_ends_all_and_the_run_goes_on_with_any_number(finished: RunConfig, tmp_path: Path) -> None:
    run = config(tmp_path)
    (tmp_path / "loser.py").write_text(LOSER)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(tmp_path / "loser.py")]
    words = [*WORDS, f"paths.runs={run.paths.runs}", f"paths.data={run.paths.data}"]
    done = subprocess.run([*launch, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    status = RunFolder(run.folder).status()
    assert status is not None and status["state"] in ("failed", "running")  # torchrun may end this process before it can say so
    if status["state"] == "failed":
        assert "run the same command again" in status["error"]
    assert train(run)["state"] == "done"  # in one process
    assert outcome(run)[0]["step"] == STEPS
    folder = RunFolder(run.folder)
    (run.folder / "status.json").write_text(json.dumps({**(folder.status() or {}), "state": "running"}))
    train_in_two_processes(run)  # from its last checkpoint, after which nothing is left to train
    status = folder.status()
    assert status is not None and status["state"] == "done"
