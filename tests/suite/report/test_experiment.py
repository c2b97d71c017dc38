from __future__ import annotations

import pytest
from pydantic import ValidationError

from idinit_suite.config.experiment import TAGS, ClaimInfo, ExperimentInfo

CLAIM = {"id": "C1", "short": "c", "text": "t", "setting": "s", "paper": "-", "figure": "f", "tag": "text"}


@pytest.mark.parametrize("tag", [*TAGS, "review? 5/5 for the gains"])
def test_tags_may_carry_a_remark(tag: str) -> None:
    assert ClaimInfo(**CLAIM | {"tag": tag}).tag.split(" ")[0] in TAGS


@pytest.mark.parametrize("change", [{"tag": "rumour"}, {"tag": "reviewed"}, {"id": "claim 1"}, {"text": ""}, {"x": 1}])
def test_a_mistake_in_a_claim_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ClaimInfo(**CLAIM | change)


def test_a_mistake_in_an_experiment_is_refused(info: ExperimentInfo) -> None:
    with pytest.raises(ValidationError, match="budgt"):
        ExperimentInfo(**info.model_dump() | {"budgt": "cpu"})
