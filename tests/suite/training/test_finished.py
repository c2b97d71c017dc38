"""What a single run says at its end."""

from __future__ import annotations

import re

import pytest

from idinit_suite.config import check, compose
from idinit_suite.config.command_line import hydra_words
from idinit_suite.training.finished import what_follows


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["model=resnet20", "data=digits"], r"python -m idinit_suite compare runs/adhoc/idinit-s0-\w{8} ANOTHER"),
        (["experiment=demo"], "make demo"),  # `make report` leaves it out
        (["experiment=demo", "paths.runs=elsewhere"], "make demo ARGS=\"paths.runs='elsewhere'\""),
        (["experiment=cifar10-resnet20"], "make report"),
        (["experiment=cifar10-resnet20", "seed=1", "paths.results=mine"], "make report ARGS=\"paths.results='mine'\""),
    ],
)
def test_a_single_run_names_the_command_that_shows_it(words: list[str], command: str) -> None:
    words = hydra_words(words)
    composed = compose(words)
    (said,) = re.findall("`(.*?)`", what_follows(check(composed), composed.experiment, words))
    assert re.fullmatch(command, said)
