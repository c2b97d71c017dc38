"""What a page in docs/ says that a piece of code prints is what it prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

DOCS = Path(__file__).parents[1] / "docs"
README = DOCS.parent / "README.md"
EXAMPLES = [
    pytest.param(code, output, id=f"{page.stem}-{number}")
    for page in sorted(DOCS.glob("*.md"))
    for number, (code, output) in enumerate(
        re.findall(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    )
]


@pytest.mark.parametrize(("code", "output"), EXAMPLES)
def test_examples_print_what_the_page_shows(code: str, output: str, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    exec(code, {})
    assert capsys.readouterr().out == output


def test_the_report_in_the_readme_is_an_excerpt_of_the_one_that_its_lines_print(capsys: pytest.CaptureFixture[str]) -> None:
    code, excerpt = re.findall(r"^```python\n(.*?)^```\n\n```\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)[0]
    exec(code, {})
    printed = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    title, *rows, last = [" ".join(line.split()) for line in excerpt.splitlines()]
    rows.remove("...")
    assert printed[0].startswith(title.removesuffix("...)")) and printed[-1] == last
    assert len(rows) > 3 and [row for row in rows if row not in printed] == []


def test_links_lead_somewhere() -> None:
    for page in DOCS.glob("*.md"):
        for target in re.findall(r"\]\((?!http|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
