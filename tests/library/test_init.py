"""Tensor-level functions against the paper's definitions, written as loops, and their closed-form facts."""

import math

import pytest
import torch

from idinit.errors import UsageError
from idinit.init import delta_orthogonal_, hadamard_, identity_, zero_preserving_

LAYOUTS = ("patch", "spatial", "channel")
SHAPES = [
    (5, 5),
    (3, 7),
    (9, 4),
    (4, 1),
    (1, 1),
    (6, 4, 3),
    (4, 9, 3, 3),
    (16, 3, 3, 3),
    (20, 2, 3, 2),
    (8, 2, 2, 3, 3),
]


def _entry(shape, layout, m, j):
    """Index of row m, column j of a weight's matrix; column j counts (channel, position) or (position, channel)."""
    _, inputs, *kernel = shape
    positions = math.prod(kernel)
    if layout == "channel":
        return (m, j, *(k // 2 for k in kernel))
    channel, position = divmod(j, positions) if layout == "patch" else reversed(divmod(j, inputs))
    taps = []
    for k in reversed(kernel):
        position, tap = divmod(position, k)
        taps.insert(0, tap)
    return (m, channel, *taps)


def _columns(shape, layout):
    return shape[1] if layout == "channel" else math.prod(shape[1:])


def identity_reference(shape, tau=1.0, layout="patch"):
    """W[m, j] = tau where m = j (mod columns), else 0."""
    w = torch.zeros(shape)
    columns = _columns(shape, layout)
    for m in range(shape[0]):
        for j in range(columns):
            if m % columns == j:
                w[_entry(shape, layout, m, j)] = tau
    return w


def zero_preserving_reference(shape, eps=1e-6, layout="patch"):
    """IDI(eps), then IDI(-eps) into the columns from `out` on, or W[m, (m + 1) mod columns] = -eps."""
    w = identity_reference(shape, eps, layout)
    out, columns = shape[0], _columns(shape, layout)
    for m in range(out):
        if out < columns:
            for j in range(columns - out):
                if m % (columns - out) == j:
                    w[_entry(shape, layout, m, out + j)] = -eps
        else:
            w[_entry(shape, layout, m, (m + 1) % columns)] = -eps
    return w


def sylvester(size):
    """H_1 = [1], H_2n = [[H, H], [H, -H]]."""
    h = torch.ones(1, 1)
    while len(h) < size:
        h = torch.cat([torch.cat([h, h], 1), torch.cat([h, -h], 1)])
    return h


def hadamard_reference(shape, scale="orthonormal"):
    """I(out x p) (H_p c) I(p x in) on the centre tap, p = 2^ceil(log2 out)."""
    out, inputs, *kernel = shape
    log = math.ceil(math.log2(out))
    c = 2 ** (-log / 2) if scale == "orthonormal" else 2 ** (-(log - 1) / 2)
    p = 2**log
    w = torch.zeros(shape)
    w[(slice(None), slice(None), *(k // 2 for k in kernel))] = torch.eye(out, p) @ (sylvester(p) * c) @ torch.eye(p, inputs)
    return w


def _garbage(shape, dtype=torch.float32):
    return torch.full(shape, 7.0, dtype=dtype)


@pytest.mark.parametrize(
    ("function", "reference"), [(identity_, identity_reference), (zero_preserving_, zero_preserving_reference)]
)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_identities_are_their_definitions(shape, layout, function, reference):
    w = _garbage(shape)
    assert function(w, 0.5, layout) is w
    assert torch.equal(w, reference(shape, 0.5, layout))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("function", [identity_, zero_preserving_])
def test_memory_format_and_gradient_do_not_matter(function, layout):
    plain = function(torch.empty(8, 4, 3, 3), layout=layout)
    weight = torch.nn.Parameter(torch.empty(8, 4, 3, 3).contiguous(memory_format=torch.channels_last))
    assert torch.equal(function(weight, layout=layout), plain)
    assert weight.is_leaf


def test_square_identity_is_the_identity_matrix():
    assert torch.equal(identity_(torch.empty(6, 6)), torch.eye(6))


def test_layouts_of_a_square_kernel_use_the_channels_that_the_paper_discusses():
    used = {}
    for layout in LAYOUTS:
        w = identity_(torch.empty(64, 64, 3, 3), layout=layout)
        used[layout] = (w.abs().sum((0, 2, 3)).count_nonzero().item(), w.abs().sum((0, 1)).count_nonzero().item())
    assert used == {"patch": (8, 9), "spatial": (64, 1), "channel": (64, 1)}  # (input channels, taps)


def test_channel_layout_is_dirac_on_square_kernels():
    w = torch.empty(8, 8, 3, 3)
    assert torch.equal(identity_(w.clone(), layout="channel"), torch.nn.init.dirac_(w))


def test_loose_identity_scatters_around_tau_without_outliers():
    generator = torch.Generator().manual_seed(0)
    w = identity_(torch.empty(20_000, 10, dtype=torch.float64), 1.0, loose_std=1e-6, generator=generator)
    entries = w[w != 0]
    assert entries.numel() == 20_000
    assert entries.mean().item() == pytest.approx(1, abs=3e-8)
    assert entries.std().item() == pytest.approx(1e-6, rel=0.03)
    assert (entries - 1).abs().max() < 6e-6
    assert (entries - 1).abs().max() > 3e-6  # not truncated


def test_loose_identity_draws_from_the_generator_only():
    state = torch.get_rng_state()
    a, b = (identity_(torch.empty(4, 4), loose_std=1e-2, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(a, b) and not torch.equal(a, torch.eye(4))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("shape", [(6, 6), (10, 6), (6, 10), (6, 5, 3, 3)], ids=str)
def test_zero_preserving_rows_are_differences_of_two_inputs(shape):
    matrix = zero_preserving_(torch.empty(shape), 1e-6).flatten(1)
    assert torch.equal(matrix.sum(1), torch.zeros(len(matrix)))
    for row in matrix:
        assert sorted(row[row != 0].tolist()) == pytest.approx([-1e-6, 1e-6])


@pytest.mark.parametrize(("out", "inputs", "rank"), [(6, 6, 5), (13, 6, 5), (6, 13, 6)])
def test_rank_of_zero_preserving_weights(out, inputs, rank):
    assert torch.linalg.matrix_rank(zero_preserving_(torch.empty(out, inputs), 1.0)) == rank


@pytest.mark.parametrize("scale", ["orthonormal", "paper"])
@pytest.mark.parametrize("shape", [(8, 8), (8, 3), (12, 5), (100, 64), (1, 1), (16, 3, 3, 3), (32, 16, 3)], ids=str)
def test_hadamard_is_the_definition(shape, scale):
    w = _garbage(shape)
    assert hadamard_(w, scale) is w
    assert torch.equal(w, hadamard_reference(shape, scale))


def test_singular_values_of_hadamard():
    def spectrum(out, inputs, scale):
        return torch.linalg.svdvals(hadamard_(torch.empty(out, inputs, dtype=torch.float64), scale))

    assert spectrum(128, 64, "orthonormal").tolist() == pytest.approx([1.0] * 64)
    assert spectrum(128, 64, "paper").tolist() == pytest.approx([math.sqrt(2)] * 64)
    cut = spectrum(100, 64, "orthonormal")  # not a power of two
    assert cut.min() == pytest.approx(math.sqrt(0.5)) and cut.max() == pytest.approx(1)


@pytest.mark.parametrize("shape", [(7, 7), (12, 5), (8, 3, 3, 3), (6, 4, 5)], ids=str)
def test_delta_orthogonal_is_an_isometry_on_the_centre_tap(shape):
    w = delta_orthogonal_(_garbage(shape, torch.float64), 1.5, torch.Generator().manual_seed(0))
    centre = w[(slice(None), slice(None), *(k // 2 for k in shape[2:]))]
    assert torch.linalg.svdvals(centre).tolist() == pytest.approx([1.5] * shape[1])
    assert w.count_nonzero() == centre.count_nonzero()


def test_what_a_tensor_cannot_hold_is_refused():
    with pytest.raises(UsageError, match=r"\[out, in, \*kernel\]; got \[4\]"):
        identity_(torch.empty(4))
    with pytest.raises(UsageError, match="'row'.*channel, patch, spatial"):
        zero_preserving_(torch.empty(4, 4), layout="row")
    with pytest.raises(UsageError, match="in <= out"):
        delta_orthogonal_(torch.empty(3, 4, 3, 3))
    with pytest.raises(UsageError, match="out >= in"):
        hadamard_(torch.empty(3, 4))
