"""Errors of others in one line."""

from __future__ import annotations

import pytest

from idinit_suite.archive.store import damaged
from idinit_suite.errors import first_line, in_one_line


@pytest.mark.parametrize(
    ("error", "first", "joined"),
    [
        (ValueError("no column\nof this name"), "no column", "no column of this name"),
        (ValueError(), "ValueError", ""),
        (KeyError("loss"), "'loss'", "'loss'"),
    ],
)
def test_an_error_fits_into_a_line(error: Exception, first: str, joined: str) -> None:
    assert (first_line(error), in_one_line(error)) == (first, joined)


def test_a_file_that_is_damaged_without_a_reason_is_named(tmp_path) -> None:
    assert "'runs.csv' of the archive 'demo' is damaged (ValueError)" in str(
        damaged(tmp_path / "demo" / "runs.csv", ValueError())
    )
