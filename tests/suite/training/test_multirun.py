import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "scripts" / "train.py"
SMALL = ["model=mlp", "data=digits", "data.train_limit=64", "impl.threads=1", "wandb.mode=disabled"]


def test_multirun_trains_each_combination_and_writes_nothing_else(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "-m", "init=idinit,kaiming", "seed=0,1", "data.batch_size=32", *SMALL]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    folders = sorted((tmp_path / "runs" / "adhoc").iterdir())
    assert [folder.name.rsplit("-", 1)[0] for folder in folders] == ["idinit-s0", "idinit-s1", "kaiming-s0", "kaiming-s1"]
    assert {json.loads((folder / "status.json").read_text())["state"] for folder in folders} == {"done"}
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "data"}, "Hydra left a folder of its own"


def test_a_point_that_cannot_be_trained_is_listed_and_the_others_run(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "-m", "init=t_fixup,idinit", "data.batch_size=5000,32", *SMALL]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and done.stderr.count("init=t_fixup") == 2 and done.stderr.count("init=idinit") == 1
    states = [json.loads(path.read_text())["state"] for path in (tmp_path / "runs" / "adhoc").glob("idinit-*/status.json")]
    assert states == ["done"]
