"""Every decisive weight of third-party networks and published architectures has the part that an expert reads in the code."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from expert_labels import LIBRARIES
from published import PUBLISHED
from torch import nn

from idinit.graph.probe import Inputs
from idinit.parts import find_parts
from idinit.zoo import load

# The last block's skip reads what the block before adds to its skip: a projection and a deeper path, as in a residual block.
KNOWN_WRONG = {"wavenet, skip apart"}


def wrong_labels(model: nn.Module, inputs: Inputs, labels: str) -> dict[str, tuple[str, str | None]]:
    """The weights whose part is not the expected one: (expected, found)."""
    rules = [tuple(rule.split()) for rule in labels.split(";")]
    found = find_parts(model, inputs)
    wrong = {}
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            expected = next(part for pattern, part in rules if fnmatchcase(name, pattern))
            if expected not in ("-", found.get(name)):
                wrong[name] = expected, found.get(name)
    return wrong


@pytest.mark.parametrize("name", LIBRARIES)
def test_networks_of_libraries(name: str) -> None:
    network, *shape = name.split()
    model, inputs = load(network, tuple(map(int, shape)) or None)
    assert wrong_labels(model, inputs, LIBRARIES[name]) == {}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_architectures(name: str, request: pytest.FixtureRequest) -> None:
    if name in KNOWN_WRONG:
        request.applymarker(pytest.mark.xfail(strict=True))
    build, inputs, labels = PUBLISHED[name]
    assert wrong_labels(build(), inputs, labels) == {}
