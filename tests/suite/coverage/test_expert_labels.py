"""Every decisive weight of third-party networks and published architectures has the part that an expert reads in the code."""

from __future__ import annotations

import pytest
from published import PUBLISHED

from idinit.parts import find_parts
from idinit.zoo import load
from idinit_suite.coverage.expert_labels import LABELS, expected_parts, wrong_labels


@pytest.mark.parametrize("name", LABELS)
def test_networks_of_libraries(name: str) -> None:
    network, *shape = name.split()
    model, inputs = load(network, tuple(map(int, shape)) or None)
    assert wrong_labels(expected_parts(model, LABELS[name]), find_parts(model, inputs)) == {}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_architectures(name: str) -> None:
    build, inputs, labels = PUBLISHED[name]
    model = build()
    assert wrong_labels(expected_parts(model, labels), find_parts(model, inputs)) == {}
