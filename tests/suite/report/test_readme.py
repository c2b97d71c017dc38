from pathlib import Path

import pytest

from idinit.errors import UsageError
from idinit_suite.archive.runs import load
from idinit_suite.archive.variants import list_variants, scales
from idinit_suite.report.readme import with_results

ROOT = Path(__file__).parents[3]


def test_the_readme_shows_what_the_archives_hold() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count("<!-- results: ") >= 1
    assert with_results(text, ROOT / "results") == text, "run `make report`"


def test_a_block_is_replaced_by_the_table_of_the_archive() -> None:
    page = "before\n<!-- results: demo -->\nold 99.9\n<!-- end of results -->\nafter\n"
    new = with_results(page, ROOT / "results")
    assert new.startswith("before\n") and new.endswith("\nafter\n") and "99.9" not in new
    archive = load(ROOT / "results" / "demo")
    for variant in list_variants(archive, scales(archive)[0]):
        assert f"| {variant.label} |" in new
    assert with_results(new, ROOT / "results") == new


def test_an_experiment_without_results_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'demo'.*`make demo`"):
        with_results("<!-- results: demo -->\n<!-- end of results -->", tmp_path)
