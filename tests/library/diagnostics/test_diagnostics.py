"""The measures equal what is known in closed form, and leave the network as it was."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from idinit.diagnostics import (
    effective_rank,
    jacobian_singular_values,
    largest_activations,
    largest_gradients,
    largest_singular_values,
    numerical_rank,
    signal_sizes,
    unmoved,
)
from idinit.errors import UsageError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tanh_net(width: int = 30, depth: int = 4) -> nn.Module:
    net = nn.Sequential(*(layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.Tanh()))).double()
    for p in net.parameters():
        p.data.normal_(0, width**-0.5, generator=generator(p.numel()))
    return net


def with_singular_values(values: list[float], rows: int, columns: int) -> Tensor:
    u = torch.linalg.qr(torch.randn(rows, rows, generator=generator(1), dtype=torch.float64))[0]
    v = torch.linalg.qr(torch.randn(columns, columns, generator=generator(2), dtype=torch.float64))[0]
    k = len(values)
    return u[:, :k] @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ v[:, :k].T


@pytest.mark.parametrize("chunk", [None, 3])
def test_the_jacobian_of_a_linear_map_has_the_singular_values_of_its_matrix(chunk: int | None) -> None:
    matrix = with_singular_values([3.0, 1.0, 0.5, 0.0], 4, 6)
    found = jacobian_singular_values(lambda x: matrix @ x.flatten(), torch.randn(2, 3, dtype=torch.float64), chunk=chunk)
    assert torch.allclose(found, torch.tensor([3.0, 1.0, 0.5, 0.0], dtype=torch.float64), atol=1e-12)


def test_the_jacobian_of_a_deep_net_equals_the_product_of_its_layers() -> None:
    net, x = tanh_net(), torch.randn(30, dtype=torch.float64, generator=generator())
    product, h = torch.eye(30, dtype=torch.float64), x
    for linear in net[::2]:
        h = torch.tanh(linear(h))
        product = torch.diag(1 - h**2) @ linear.weight @ product
    assert torch.allclose(jacobian_singular_values(net, x), torch.linalg.svdvals(product), rtol=1e-10)


def test_lanczos_finds_the_largest_of_the_exact_values() -> None:
    net, x = tanh_net(), torch.randn(30, dtype=torch.float64, generator=generator())
    assert torch.allclose(largest_singular_values(net, x, 8), jacobian_singular_values(net, x)[:8], rtol=1e-8)


def test_lanczos_on_a_convolution_in_float32() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 2, 3, stride=2))
    x = torch.randn(1, 2, 9, 9, generator=generator())
    found = largest_singular_values(net, x, 5)
    assert found.dtype == torch.float32
    assert torch.allclose(found, jacobian_singular_values(net, x)[:5], rtol=1e-4)


def test_lanczos_on_maps_that_are_the_identity_zero_or_not_finite() -> None:
    x = torch.rand(50, dtype=torch.float64, generator=generator())
    assert torch.allclose(largest_singular_values(torch.relu, x, 3), torch.ones(3).double())
    assert largest_singular_values(lambda v: 0 * v[:20], x, 3).tolist() == [0, 0, 0]
    assert largest_singular_values(lambda v: v / (v - v), x, 3).isnan().all()


@pytest.mark.parametrize("count", [0, 4])
def test_lanczos_cannot_find_all(count: int) -> None:
    with pytest.raises(UsageError, match="1 to 3 of the 4"):
        largest_singular_values(lambda x: 2 * x, torch.ones(4), count)


def test_a_jacobian_that_is_not_finite_has_no_singular_values() -> None:
    assert jacobian_singular_values(torch.sqrt, torch.tensor([0.0, 1.0])).isnan().all()


def test_numerical_rank_counts_what_is_above_its_threshold() -> None:
    values = [1.0, 0.1, 1e-3, 1e-9]
    matrix = with_singular_values(values, 8, 5)
    assert [int(numerical_rank(matrix, threshold=t)) for t in (0.5, 0.05, 1e-4, 1e-10)] == [1, 2, 3, 4]
    assert int(numerical_rank(matrix)) == 4, "the default is that of the dtype"
    assert int(numerical_rank(matrix.float())) == 3
    assert numerical_rank(torch.stack([matrix, torch.zeros(8, 5)])).tolist() == [4, 0]


def test_effective_rank_of_equal_values_is_the_rank_and_else_less() -> None:
    assert torch.allclose(effective_rank(with_singular_values([2.0, 2.0, 2.0], 6, 6)), torch.tensor(3.0).double())
    uneven = effective_rank(with_singular_values([3.0, 1.0], 6, 6))  # shares 3/4 and 1/4
    assert math.isclose(float(uneven), 4 / 3**0.75, rel_tol=1e-9)
    assert float(effective_rank(torch.zeros(3, 3))) == 0


def test_signals_of_a_linear_chain_shrink_and_grow_as_its_factors_say() -> None:
    net = nn.Sequential(*(nn.Linear(4, 4, bias=False) for _ in range(3)))
    for layer in net:
        layer.weight.data = 0.5 * torch.eye(4)
    found = signal_sizes(net, (torch.ones(1, 4),), cotangent=torch.ones(1, 4))
    assert [(s.module, s.activation, s.gradient) for s in found] == [("0", 0.5, 0.25), ("1", 0.25, 0.5), ("2", 0.125, 1.0)]


def test_signals_of_chosen_modules_in_place_activations_and_frozen_weights() -> None:
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(inplace=True), nn.Linear(2, 2, bias=False))
    net[0].weight.data = torch.tensor([[1.0, 0.0], [0.0, -1.0]])
    net[2].weight.data = torch.eye(2)
    net.requires_grad_(False)
    found = signal_sizes(net, (torch.ones(1, 2),), ["0", "1"], cotangent=torch.ones(1, 2))
    half = math.sqrt(0.5)
    assert [(s.module, s.activation) for s in found] == [("0", 1.0), ("1", pytest.approx(half))]
    assert [s.gradient for s in found] == pytest.approx([half, 1.0])
    assert not any(p.requires_grad for p in net.parameters()) and not net[0]._forward_hooks


def test_an_unknown_module_is_named() -> None:
    net = nn.Sequential(nn.Linear(2, 2))
    for call in (lambda: signal_sizes(net, (torch.ones(1, 2),), ["1"]), lambda: largest_activations(net, [], ["1"])):
        with pytest.raises(UsageError, match="'1'.*Valid: 0"):
            call()


def test_a_network_that_returns_no_tensor_is_refused() -> None:
    with pytest.raises(UsageError, match="tuple"):
        signal_sizes(nn.LSTM(2, 2), (torch.ones(1, 1, 2),))


def test_unmoved_is_exact_or_up_to_a_tolerance() -> None:
    before = torch.tensor([1.0, 1.0, 0.0])
    after = torch.tensor([1.0, 1.0 + 1e-6, -0.5])
    assert unmoved(before, after).tolist() == [True, False, False]
    assert unmoved(before, after, 1e-3).tolist() == [True, True, False]


def test_a_dead_unit_has_no_activation_and_its_weights_no_gradient() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2))
    for p in net.parameters():
        p.data.normal_(generator=generator(p.numel()))
    net[0].bias.data = torch.tensor([0.0, -1e3])  # the second unit never fires
    x, y = torch.randn(20, 3, generator=generator()), torch.arange(20) % 2
    batches = [((x[i : i + 5],), y[i : i + 5]) for i in range(0, 20, 5)]
    gradients = largest_gradients(net, batches, F.cross_entropy)
    assert (gradients["0.weight"] > 0).tolist() == [[True] * 3, [False] * 3]
    assert (gradients["2.weight"] > 0).tolist() == [[True, False]] * 2
    activations = largest_activations(net, [inputs for inputs, _ in batches], ["1"])
    assert torch.allclose(activations["1"], torch.relu(net[0](x)).detach().amax(0)) and activations["1"][1] == 0
    assert all(p.grad is None for p in net.parameters())


def test_units_of_convolutions_are_channels() -> None:
    net = nn.Conv2d(1, 2, 1, bias=False)
    net.weight.data = torch.tensor([[[[2.0]]], [[[0.0]]]])
    found = largest_activations(nn.Sequential(net), [(-torch.ones(2, 1, 3, 3),)], ["0"])
    assert found["0"].tolist() == [2.0, 0.0]


@pytest.mark.parametrize("measure", ["signals", "gradients", "activations"])
def test_running_statistics_hooks_and_random_numbers_are_left_as_they_were(measure: str) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2)).train()
    x, labels = torch.randn(8, 3, generator=generator()), torch.zeros(8, dtype=torch.long)
    before, random = {name: value.clone() for name, value in net.state_dict().items()}, torch.get_rng_state()
    match measure:
        case "signals":
            signal_sizes(net, (x,))
        case "gradients":
            largest_gradients(net, [((x,), labels)], F.cross_entropy)
        case "activations":
            largest_activations(net, [(x,)], ["1"])
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert net.training and not any(module._forward_hooks for module in net.modules())
