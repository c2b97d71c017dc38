"""The rule by which a tensor was filled is told from its values."""

import pytest
import torch
from torch import nn

from idinit import init
from idinit.diagnostics.looks import look_at
from idinit.parts.blocks import matrices
from idinit.parts.layout import Layout
from idinit.parts.structure import Slice

G = torch.Generator().manual_seed(0)
RULES = {
    "zeros": [lambda w: w.zero_()],
    "constant": [lambda w: w.fill_(0.5)],
    "identity": [init.identity_, lambda w: init.identity_(w, 2.0), lambda w: init.identity_(w, 1.0, "patch", 1e-6, G)],
    "zero-preserving": [init.zero_preserving_],
    "orthogonal": [lambda w: nn.init.orthogonal_(w, generator=G), lambda w: nn.init.orthogonal_(w, 0.1, generator=G)],
    "normal": [lambda w: w.normal_(0, 0.02, generator=G), lambda w: nn.init.kaiming_normal_(w, generator=G)],
    "uniform": [lambda w: nn.init.kaiming_uniform_(w, generator=G), lambda w: w.uniform_(-0.1, 0.1, generator=G)],
    "truncated normal": [lambda w: init.truncated_normal_(w, 0.1, G)],
}  # fmt: skip
SHAPES = [(64, 64), (40, 96), (96, 40), (32, 16, 3, 3)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("rule", "fill"), [(rule, fill) for rule, fills in RULES.items() for fill in fills])
def test_rules(rule, fill, shape):
    with torch.no_grad():
        looks = look_at(fill(torch.empty(shape))[None])
    assert looks.rule == rule and not looks.outliers
    assert looks.fan_in == torch.Size(shape[1:]).numel()


@pytest.mark.parametrize(
    ("rule", "fill"),
    [
        ("Dirac", lambda w: nn.init.dirac_(w)),
        ("Dirac", lambda w: init.identity_(w, layout="channel")),
        ("orthogonal on the centre tap", lambda w: init.delta_orthogonal_(w, 1.0, G)),
    ],
)
def test_rules_of_kernels(rule, fill):
    assert look_at(fill(torch.empty(32, 16, 3, 3))[None]).rule == rule


def test_hadamard_has_equal_magnitudes_and_few_values_are_not_judged():
    assert look_at(init.hadamard_(torch.empty(64, 32))[None]).rule == "equal magnitudes"
    assert look_at(torch.randn(1, 3, 3, generator=G)).rule == "random"


@pytest.mark.parametrize("bound", [2.0, 3.0])
def test_normals_cut_at_two_and_at_three_deviations(bound):
    w = nn.init.trunc_normal_(torch.empty(1, 200, 200), 0, 0.02, -0.02 * bound, 0.02 * bound, generator=G)
    assert look_at(w).rule == "truncated normal"


def test_the_spread_is_the_root_mean_square_times_the_root_of_the_fan_in():
    looks = look_at(torch.randn(1, 64, 100, generator=G) / 10)
    assert looks.spread == pytest.approx(1, rel=0.05) and looks.std == pytest.approx(0.1, rel=0.05)


def test_outliers_and_what_is_not_finite():
    w = torch.randn(1, 64, 64, generator=G) * 1e-6
    w[0, 3, 3] = -2
    assert look_at(w).outliers == pytest.approx(1 / 4096) and look_at(w).peak == 2
    w[0, 4, 4] = torch.inf
    assert look_at(w).rule == "not finite"


def test_matrices_of_any_layout():
    value = torch.arange(24.0).view(4, 6)
    assert torch.equal(matrices(value, Layout()), value[None])
    assert torch.equal(matrices(value, Layout((1,), (0,))), value.T[None])
    assert torch.equal(matrices(value, Layout(chunks=2)), value.view(2, 2, 6))
    assert torch.equal(matrices(value, Layout(), [Slice(0, 1, 2, "key"), Slice(0, 3, 4, "key")]), value[[1, 3]][None])
    experts = torch.arange(24.0).view(2, 3, 4)
    assert torch.equal(matrices(experts, Layout((2,), (1,))), experts.transpose(1, 2))
