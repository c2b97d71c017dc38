"""Make targets hand over exactly what was asked, in a shell as in the file."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text()
EXPERIMENTS = sorted(file.stem for file in (ROOT / "configs" / "experiment").glob("*.yaml"))
VARIABLES = ("BUDGET", "INITS", "SEEDS", "DATA", "ARGS", "FORCE", "PYTHON")
PRINT = "RUN=printf '%s\\n'"  # prints the words that Python would get, one a line, after the shell has read them


def make(*words: str, folder: Path = ROOT, check: bool = True) -> subprocess.CompletedProcess[str]:
    outside = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS")) and k not in VARIABLES}
    command = ["make", "--no-print-directory", "-C", str(folder), *words]
    return subprocess.run(command, env=outside, capture_output=True, text=True, check=check)


def python_words(*words: str) -> list[str]:
    """What Python is called with for a make command line; `-o` takes the environment as installed."""
    return make("-o", ".venv/.installed", PRINT, *words).stdout.splitlines()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_each_experiment_file_is_a_target(name: str) -> None:
    assert python_words(name)[:2] == ["scripts/sweep.py", f"experiment={name}"]


@pytest.mark.parametrize(
    ("variables", "overrides"),
    [
        ([], []),
        (["BUDGET=smoke"], ["budget=smoke"]),
        (["INITS=idinit fixup", "SEEDS= 0 1  2 "], ["init=idinit,fixup", "seed=0,1,2"]),
        (["FORCE=1"], ["force=true"]),
        (["DATA=/with space/data"], ["paths.data=/with space/data"]),
        (["DATA=it's; echo no"], ["paths.data=it's; echo no"]),
        (["ARGS=optim.lr=0.1 'model.name=my net'"], ["optim.lr=0.1", "model.name=my net"]),
        (["ARGS=a=1", "SEEDS=3", "BUDGET=cpu"], ["budget=cpu", "seed=3", "a=1"]),
    ],
)
def test_variables_become_overrides(variables: list[str], overrides: list[str]) -> None:
    assert python_words("cifar10-resnet20", *variables) == ["scripts/sweep.py", "experiment=cifar10-resnet20", *overrides]


def test_hydra_reads_a_path_with_spaces() -> None:
    word = python_words("demo", "DATA=/with space/data")[-1]
    (override,) = OverridesParser.create().parse_overrides([word])
    assert (override.key_or_group, override.value()) == ("paths.data", "/with space/data")


def test_help_lists_every_target_and_experiment() -> None:
    (targets,) = re.findall(r"^\.PHONY: (.*) \$\(EXPERIMENTS\)$", MAKEFILE, re.MULTILINE)
    lines = make("help").stdout.splitlines()
    described = {line.split()[1] for line in lines if re.match(r"make \S+ +\S", line)}
    assert described == {*targets.split(), "demo", "demo-text"}
    assert [line.strip() for line in lines if line.strip() in EXPERIMENTS] == EXPERIMENTS
    assert make().stdout.splitlines() == lines


def test_scripts_that_targets_call_exist() -> None:
    called = set(re.findall(r"scripts/\w+\.py", MAKEFILE))
    assert called and {script for script in called if not (ROOT / script).exists()} == set()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with what the environment is made from, in which it is up to date."""
    for name in ("Makefile", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "configs" / "experiment").mkdir(parents=True)
    (tmp_path / "configs" / "experiment" / "demo.yaml").touch()
    (tmp_path / "configs" / "experiment" / "demo-text.yaml").touch()
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / ".installed").touch()
    return tmp_path


@pytest.mark.parametrize("target", ["env", "demo", "test", "check", "plan", "report", "bench", "coverage"])
def test_every_target_makes_the_environment_first(checkout: Path, target: str) -> None:
    assert "-m venv" not in make("-n", target, folder=checkout).stdout
    shutil.rmtree(checkout / ".venv")
    commands = [line for line in make("-n", target, folder=checkout).stdout.splitlines() if not line.startswith("echo")]
    assert "-m venv .venv" in commands[0]
    assert "--constraint constraints.txt --editable '.[dev]'" in commands[1]
    assert commands[2] == "touch .venv/.installed"
    assert (len(commands) > 3) == (target != "env")


@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints.txt"])
def test_a_change_of_dependencies_installs_again(checkout: Path, changed: str) -> None:
    assert make("-q", "env", folder=checkout, check=False).returncode == 0
    stamp = (checkout / ".venv" / ".installed").stat().st_mtime
    os.utime(checkout / changed, (stamp + 10, stamp + 10))
    assert make("-q", "env", folder=checkout, check=False).returncode == 1


@pytest.mark.parametrize("fails", ["check", "test", "nothing"])
def test_ci_runs_both_and_fails_if_either_fails(tmp_path: Path, fails: str) -> None:
    stand_in = tmp_path / "make"
    stand_in.write_text(f'#!/bin/sh\necho "ran $1"\ntest "$1" != {fails}\n')
    stand_in.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run([ROOT / ".ci" / "run"], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["ran check", "ran test"]
    assert (done.returncode == 0) == (fails == "nothing")


def test_coverage_takes_patterns_and_force() -> None:
    assert python_words("coverage", "ARGS='timm:*' hf:bert", "FORCE=1") == [
        "scripts/coverage.py",
        "--force",
        "timm:*",
        "hf:bert",
    ]
