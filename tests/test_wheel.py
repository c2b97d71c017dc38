"""The wheel, in an environment that has what the library declares and nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import distribution, version
from pathlib import Path

import pytest

from packages import needed

ROOT = Path(__file__).parents[1]
NETS = "from torch import nn\n\ndef make():\n    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))\n"
OUTSIDE = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}  # nor PYTHONPATH of the tests
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, so that nothing is written into the checkout."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for folder in ("src", "configs"):
        shutil.copytree(ROOT / folder, copy / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, copy)
    build = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(out), str(copy)]
    subprocess.run(build, check=True, capture_output=True)
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel; links stand for what it needs, which would take long to install."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder / "env", symlinks=True)
    links = folder / "links"
    links.mkdir()
    for name in needed():
        for top in {file.parts[0] for file in distribution(name).files or [] if file.parts[0] not in ("..", "__pycache__")}:
            if not (links / top).exists():
                (links / top).symlink_to(Path(str(distribution(name).locate_file(top))))
    (packages,) = (folder / "env" / "lib").glob("python*/site-packages")
    (packages / "links.pth").write_text(f"{links}\n")
    install = [*PIP, "--python", str(folder / "env" / "bin" / "python"), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, env=OUTSIDE, check=True, capture_output=True)
    return folder / "env" / "bin"


def run(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command; warnings are errors, but torch's that NumPy is missing."""
    strict = {**OUTSIDE, "PYTHONWARNINGS": "error,ignore:Failed to initialize NumPy"}
    return subprocess.run(words, cwd=folder, env=strict, capture_output=True, text=True, check=False)


def test_the_environment_lacks_what_is_optional(environment: Path, tmp_path: Path) -> None:
    found = "import importlib.util as u; print([n for n in {} if u.find_spec(n)])"
    optional = ["matplotlib", "numpy", "pandas", "rich", "scipy", "timm", "torchvision", "transformers", "hydra", "yaml"]
    assert run(str(environment / "python"), "-c", found.format(optional), folder=tmp_path).stdout == "[]\n"


def test_the_library_example_of_the_readme_runs(environment: Path, tmp_path: Path) -> None:
    example, *_ = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    done = run(str(environment / "python"), "-c", example, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("idinit(tau=1.0") and done.stdout.endswith("parameters, 0 left alone\n")


@pytest.mark.parametrize(("options", "report"), [(["--init", "idinit"], "idinit("), ([], "")])
def test_the_command_inspects_a_network_of_a_file(environment: Path, tmp_path: Path, options: list[str], report: str) -> None:
    (tmp_path / "nets.py").write_text(NETS)
    done = run(str(environment / "idinit"), "inspect", "nets.py:make", *options, "--input", "8", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"nets.py:make: Sequential, 178 weights, inputs 2x8\n\n{report}")
    assert [file.name for file in tmp_path.iterdir() if file.suffix == ".png"] == []


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (["inspect", "timm:resnet18"], "zoo"),
        (["inspect", "hf:bert"], "zoo"),
        (["inspect", "nets.py:make", "--input", "8", "--save", "signal.png"], "plot"),
    ],
)
def test_what_needs_an_extra_names_it(environment: Path, tmp_path: Path, words: list[str], extra: str) -> None:
    (tmp_path / "nets.py").write_text(NETS)
    done = run(str(environment / "idinit"), *words, folder=tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.endswith(f"pip install 'idinit[{extra}]'\n")


def test_the_commands_list_and_version(environment: Path, tmp_path: Path) -> None:
    listed = run(str(environment / "idinit"), "list", "*fixup*", folder=tmp_path).stdout
    assert [line.split()[0] for line in listed.splitlines()[2:]] == ["fixup", "t_fixup"]
    code = "import idinit; print(idinit.__version__)"
    assert run(str(environment / "python"), "-c", code, folder=tmp_path).stdout == f"{version('idinit')}\n"


def test_the_wheel_holds_every_config(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name.removeprefix("idinit_suite/configs/") for name in archive.namelist() if name.endswith(".yaml")}
    assert packed == {str(path.relative_to(ROOT / "configs")) for path in (ROOT / "configs").rglob("*.yaml")}


def test_an_installed_suite_finds_its_configs(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    code = (
        "import idinit_suite.config as c; print(c.__file__); print(c.check(c.compose(['experiment=cifar10-resnet20'])).model)"
    )
    outside = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=outside, capture_output=True, text=True, check=True)
    file, model = done.stdout.splitlines()
    assert Path(file).is_relative_to(tmp_path) and "'depth': 20" in model
