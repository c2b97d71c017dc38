"""The one list of dependencies (pyproject.toml), the tested versions (constraints.txt) and environment.yml agree."""

from __future__ import annotations

import ast
import re
import shlex
import sys
from collections.abc import Iterator
from importlib.metadata import distribution, packages_distributions, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from packages import declared, needed

ROOT = Path(__file__).parents[1]
OF_THE_LIBRARY = ("diagnostics", "plot", "tables", "zoo")
EXTRAS = (*OF_THE_LIBRARY, "suite", "dev")
SHARED = (ROOT / "tests" / "library", ROOT / "tests" / "library" / "parts")  # pytest's pythonpath
on_tested_python = pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="what is installed is tested on Python 3.11")


def pins() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    listed = [Requirement(line) for line in lines if line and not line.startswith("#")]
    by_name: dict[str, Requirement] = {canonicalize_name(pin.name): pin for pin in listed}
    assert len(by_name) == len(listed), "a package is pinned twice"
    return by_name


def pinned_version(pin: Requirement) -> Version:
    (specifier,) = pin.specifier
    assert specifier.operator == "=="
    return Version(specifier.version)


def test_the_declared_limits() -> None:
    ranges = {name: str(requirement.specifier) for name, requirement in (declared() | declared("suite")).items()}
    assert ranges["torch"] == "<2.15,>=2.9"
    assert ranges["torchvision"] == "<0.30,>=0.24"
    assert ranges["hydra-core"] == "==1.3.*"
    assert distribution("idinit").metadata["Requires-Python"] == "<3.14,>=3.10"


def test_the_tested_torch() -> None:
    assert {name: str(pinned_version(pins()[name])) for name in ("torch", "torchvision")} == {
        "torch": "2.14.1",
        "torchvision": "0.29.1",
    }


def test_the_library_needs_torch_and_pydantic() -> None:
    assert set(declared()) == {"torch", "pydantic"}


@pytest.mark.parametrize("extras", [(), *((extra,) for extra in EXTRAS)], ids=str)
def test_every_dependency_is_pinned_within_its_range(extras: tuple[str, ...]) -> None:
    outside = {
        name: str(requirement)
        for name, requirement in declared(*extras).items()
        if name not in pins() or pinned_version(pins()[name]) not in requirement.specifier
    }
    assert declared(*extras) and outside == {}


@on_tested_python
def test_pins_are_all_that_is_needed_and_nothing_else() -> None:
    assert needed("dev") <= set(pins())
    for_cuda = {name for name in pins() if name.startswith(("cuda-", "nvidia-", "triton"))}  # absent with a CPU torch
    assert set(pins()) - for_cuda == needed("dev") - for_cuda


@on_tested_python
def test_installed_versions_are_the_pinned_ones() -> None:
    installed = {name: version(name).partition("+")[0] for name in needed("dev")}  # torch may be 2.14.1+cpu
    assert installed == {name: str(pinned_version(pins()[name])) for name in needed("dev")}


@on_tested_python
@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_pins_apply_only_where_they_can_be_installed(python: str) -> None:
    assert Version(python) in SpecifierSet(distribution("idinit").metadata["Requires-Python"])
    impossible = []
    for name in needed("dev"):
        marker = pins()[name].marker
        applies = marker is None or marker.evaluate({"python_version": python})
        possible = Version(f"{python}.0") in SpecifierSet(distribution(name).metadata["Requires-Python"] or "")
        if applies and not possible:
            impossible.append(name)
    assert impossible == []


def test_conda_environment_installs_the_same() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, by_pip = environment["dependencies"]
    assert (python, pip) == ("python=3.11", "pip")
    assert Version("3.11") in SpecifierSet(distribution("idinit").metadata["Requires-Python"])
    options = dict(shlex.split(line) for line in by_pip["pip"])  # lines of a requirements file: an option and its value
    assert options == {"--constraint": "constraints.txt", "--editable": ".[dev]"}


def imported(folder: str) -> Iterator[tuple[str, str]]:
    """Top-level names of the third-party modules that the files of a folder import, with the file."""
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            for name in {name.partition(".")[0] for name in names} - sys.stdlib_module_names:
                shared = (place / path for place in (file.parent, *SHARED) for path in (f"{name}.py", f"{name}/__init__.py"))
                if not any(path.exists() for path in shared):  # what tests share
                    yield name, str(file.relative_to(ROOT))


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("src/idinit", OF_THE_LIBRARY),
        ("src/idinit_suite", ("suite", *OF_THE_LIBRARY)),
        ("scripts", ("suite",)),
        ("tests", ("dev",)),
    ],
)
def test_what_is_imported_is_declared(folder: str, extras: tuple[str, ...]) -> None:
    allowed = {*declared(), *declared(*extras)}
    own = {package.name for package in (ROOT / "src").iterdir()}
    providers = packages_distributions()
    undeclared = {
        (name, file)
        for name, file in imported(folder)
        if name not in own and not allowed & {canonicalize_name(provider) for provider in providers.get(name, [])}
    }
    assert undeclared == set()


def test_what_is_declared_is_imported() -> None:
    used = {name for folder in ("src", "scripts") for name, _ in imported(folder)}
    providers = packages_distributions()
    asked_for = {*declared(), *declared("suite")}
    assert asked_for <= {canonicalize_name(provider) for name in used for provider in providers.get(name, [])}


def test_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == version("idinit")
    (paper,) = citation["references"]
    assert re.fullmatch(r"https://arxiv\.org/abs/2503\.04626", paper["url"])
    assert [author["family-names"] for author in paper["authors"]] == ["Pan", "Wang", "Wu", "Wang", "Zhang", "Xu"]


def test_tests_of_the_library_import_nothing_of_the_suite() -> None:
    files = list((ROOT / "tests" / "library").rglob("*.py"))
    imports = re.compile(r"^\s*(?:from|import) idinit_suite", re.MULTILINE)
    assert len(files) > 30 and [str(file) for file in files if imports.search(file.read_text())] == []
