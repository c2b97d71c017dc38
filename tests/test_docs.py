"""What the documentation says: its Python prints what is shown, its commands are valid, its links and numbers hold."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from pkgutil import iter_modules

import pytest
import torch

from idinit.cli import main as idinit_command
from idinit.initializers import INITIALIZERS
from idinit_suite import commands as suite_commands
from idinit_suite.config import CONFIG_DIR, GROUPS, compose
from idinit_suite.experiments.grid import list_experiments, load_experiment

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
COMMANDS = {module.name for module in iter_modules(suite_commands.__path__)}
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
BLOCK = re.compile(
    r"^```(?P<language>\w+)\n(?P<code>.*?)^```$(\n\n```(text)?\n(?P<output>.*?)^```$)?", re.MULTILINE | re.DOTALL
)


def blocks(page: Path, *languages: str) -> list[tuple[str, str | None]]:
    found = BLOCK.finditer(page.read_text())
    return [(match["code"], match["output"]) for match in found if match["language"] in languages]


def commands() -> list[object]:
    lines = [
        (page.stem, line) for page in PAGES for code, _ in blocks(page, "sh", "bash") for line in code.splitlines() if line
    ]
    return [
        pytest.param(shlex.split(line, comments=True), id=f"{stem}: {line.partition('#')[0].strip()}") for stem, line in lines
    ]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.stem)
def test_examples_print_what_the_page_shows(page: Path) -> None:
    torch.manual_seed(0)
    names: dict[str, object] = {}
    for code, shown in blocks(page, "python"):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(code, names)
        if page.stem == "README":
            assert_excerpt(printed.getvalue(), shown or "")
        elif shown is not None:
            assert printed.getvalue() == shown


def assert_excerpt(printed: str, excerpt: str) -> None:
    """The README leaves out rows of the report, and cuts its title."""
    whole = [" ".join(line.split()) for line in printed.splitlines()]
    title, *rows, last = [" ".join(line.split()) for line in excerpt.splitlines()]
    rows.remove("...")
    assert whole[0].startswith(title.removesuffix("...)")) and whole[-1] == last
    assert len(rows) > 3 and [row for row in rows if row not in whole] == []


@pytest.mark.parametrize("words", commands())
def test_commands_are_valid(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    match words:
        case ["idinit", *arguments]:
            if "--init" in arguments or "file.py:factory" not in arguments:
                idinit_command(arguments)
        case ["make", *rest]:
            names = [word for word in rest if "=" not in word]
            variables = dict(word.split("=", 1) for word in rest if "=" in word)
            targets = re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert set(names) <= {*targets, *list_experiments()}
            assert variables.keys() <= {"BUDGET", "INITS", "SEEDS", "DATA", "ARGS", "FORCE", "EXPERIMENT"}
            overrides = [
                f"{key}={','.join(variables[variable].split())}"
                for variable, key in (("BUDGET", "budget"), ("INITS", "init"), ("SEEDS", "seed"))
                if variable in variables
            ]
            experiments = [name for name in names if name in list_experiments("grid")]
            for name in experiments or ["demo"]:
                load_experiment([f"experiment={name}", *overrides, *shlex.split(variables.get("ARGS", ""))])
        case ["python", "scripts/train.py", *overrides] | ["torchrun", _, "scripts/train.py", *overrides]:
            compose(overrides)
        case ["python", "-m", "idinit_suite", command, *_]:
            assert command in COMMANDS
        case ["pip", "install", what]:
            assert what == "." or what.removeprefix(".[").removesuffix("]") in ("glove", "suite", "plot", "zoo")
        case ["wandb", "sweep", file]:
            assert (ROOT / file).is_file()
        case ["wandb", "agent", sweep]:
            assert sweep.count("/") == 2
        case _:
            assert words == ["source", ".venv/bin/activate"]


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!http|#)([^)#]+)", page.read_text()):
            generated = target.startswith("methods/") and page.parent == DOCS
            known = target in ("methods/index.md", *(f"methods/{name}.md" for name in INITIALIZERS))
            assert known if generated else (page.parent / target).exists(), f"{page.name}: {target}"


def test_numbers_of_the_decision_table_are_those_of_the_results_that_it_links() -> None:
    rows = [line for line in (DOCS / "choosing.md").read_text().splitlines() if line.startswith("|") and "](../results" in line]
    assert len(rows) > 4
    for row in rows:
        evidence = row.split("|")[4]
        pages = [DOCS / target for target in re.findall(r"\]\((.+?)\)", evidence)]
        linked = "".join((page / "README.md" if page.is_dir() else page).read_text() for page in pages)
        numbers = re.findall(r"\d+\.\d+(?: ± \d+\.\d+)?", re.sub(r"\]\(.+?\)", "", evidence))
        assert [number for number in numbers if number not in linked] == []


def test_the_losses_of_rezero_with_small_and_large_tokens_are_those_measured() -> None:
    table = [line for line in (DOCS / "zeros.md").read_text().splitlines() if re.match(r"\| .+ \| [\d.*]+ \| [\d.*]+ \|", line)]
    measured = (ROOT / "results" / "bench" / "training.md").read_text().splitlines()
    of_rezero = [line for line in measured if "vit_tiny" in line and "| rezero |" in line]
    assert len(table) == len(of_rezero) == 4
    for said, line in zip(table, of_rezero, strict=True):
        assert [cell.strip(" *") for cell in said.split("|")[2:5]] == [cell.strip() for cell in line.split("|")[4:7]]


@pytest.mark.parametrize(("column", "group"), [(2, "data"), (3, "model")])
def test_the_table_of_networks_and_data_names_every_choice(column: int, group: str) -> None:
    rows = (DOCS / "suite.md").read_text().partition("## Networks and data")[2].partition("\n\n|")[2].partition("\n\n")[0]
    named = [re.findall(r"`(\w+)`", row.split("|")[column]) for row in rows.splitlines()[2:]]
    presets = {path.stem for path in (CONFIG_DIR / group).glob("*.yaml")}
    assert set().union(*named) == {*GROUPS[group], *presets}


def test_every_initializer_that_the_decision_table_names_is_one() -> None:
    named = re.findall(
        r"`(\w+)`", "".join(line for line in (DOCS / "choosing.md").read_text().splitlines() if line[0:1] == "|")
    )
    assert len(set(named)) > 10 and set(named) <= set(INITIALIZERS)


def test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "--config-file",
        ROOT / "mkdocs.yml",
        "--site-dir",
        tmp_path,
    ]
    done = subprocess.run(command, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert {page.stem for page in (tmp_path / "methods").glob("*.html")} == {"index", *INITIALIZERS}
    assert all(
        option in (tmp_path / "methods" / "idinit.html").read_text() for option in INITIALIZERS["idinit"].options.model_fields
    )
    loads = re.compile(r'<(?:script|link|img)[^>]+(?:src|href)="(?:https?:)?//|url\(["\']?https?:|@import')
    made = [page for page in tmp_path.rglob("*.html") if page.name != "404.html"]
    assert len(made) > 40 and [str(page) for page in made if loads.search(page.read_text())] == []
