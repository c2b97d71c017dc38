"""Small networks of the project with their parts written down by hand."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from idinit.data import Images
from idinit.initializers import INITIALIZERS
from idinit.models import MODELS
from idinit.parts import Branch, Structure


class Case(NamedTuple):
    """A network, its structure by hand, and a batch."""

    model: nn.Module
    structure: Structure
    x: Tensor


KINDS = {
    "resnet": ("resnet", dict(depth=14, width=4)),
    "resnet-projection": ("resnet", dict(depth=8, width=4, shortcut="projection")),
    "resnet-norm": ("resnet", dict(depth=8, width=4, norm="batch", shortcut="projection")),
    "residual-mlp": ("residual_mlp", dict(blocks=3, width=12)),
    "mlp": ("mlp", dict(depth=4, width=48)),
    "allconv": ("allconv", dict(width=16)),
}


def _part(kind: str, name: str) -> str:
    module, _, leaf = name.rpartition(".")
    last = module.rpartition(".")[2]
    if "norm" in last:
        return "norm"
    if leaf == "bias":
        return "bias"
    if ".shortcut." in name:
        return "shortcut"
    if ".branch." in name:
        return "branch_end" if last in ("conv2", "linear2") else "branch"
    if last in ("stem", {"mlp": "linear1", "allconv": "conv1"}.get(kind)):
        return "stem"
    return "head" if last in ("head", "conv9") else "trunk"


def _branches(model: nn.Module) -> tuple[Branch, ...]:
    branches = []
    for name, module in model.named_modules():
        if type(module).__name__ == "BasicBlock":
            changes_shape = not isinstance(module.shortcut, nn.Identity)
            has_norm = not isinstance(module.branch.norm2, nn.Identity)
            branches.append(
                Branch(
                    (f"{name}.branch.conv1.weight", f"{name}.branch.conv2.weight"),
                    f"{name}.branch",
                    f"{name}.shortcut" if changes_shape else None,
                    f"{name}.branch.norm2" if has_norm else None,
                )
            )
        elif type(module).__name__ == "ResidualLayers":
            branches.append(Branch((f"{name}.branch.linear1.weight", f"{name}.branch.linear2.weight"), f"{name}.branch"))
    return tuple(branches)


def _build(kind: str) -> Case:
    name, options = KINDS[kind]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, 3, 16, 16, generator=generator)
    model = MODELS[name].build(Images((3, 16, 16), 5), **options)
    parts = {name: _part(kind, name) for name, _ in model.named_parameters()}
    return Case(model, Structure(parts, _branches(model)), x)


def _kinds_for(method: str) -> list[str]:
    needs = INITIALIZERS[method].facts["needs"]
    kinds = list(KINDS)
    if "branches" in needs:
        kinds = [k for k in kinds if k.startswith("res")]
    if "end_norm" in needs:
        kinds = [k for k in kinds if "norm" in k]
    if "no_norm" in needs:
        kinds = [k for k in kinds if "norm" not in k]
    return kinds


@pytest.fixture(scope="session")
def build():
    """Builds a `Case` by kind."""
    return _build


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``method`` runs over the registry; with ``kind``, over every network that the method's needs allow."""
    if {"method", "kind"} <= set(metafunc.fixturenames):
        metafunc.parametrize(("method", "kind"), [(m, k) for m in INITIALIZERS for k in _kinds_for(m)])
    elif "method" in metafunc.fixturenames:
        metafunc.parametrize("method", list(INITIALIZERS))


@pytest.fixture
def case(method: str) -> Case:
    """A network that the method's needs allow."""
    return _build(_kinds_for(method)[0])
