from __future__ import annotations

import warnings

import torch
from torch import nn

from idinit.initialize import initialize_
from idinit_suite.training.flops import count_flops


def test_a_multiply_add_counts_two_forward_and_twice_that_backward() -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    # The first layer needs no gradient of its input.
    assert count_flops(model, (torch.randn(5, 8),)) == 2 * 2 * 8 * 16 + 3 * 2 * 16 * 4


def test_a_convolution_counts_every_tap_at_every_place() -> None:
    assert count_flops(nn.Conv2d(3, 7, 3, padding=1), (torch.randn(2, 3, 10, 10),)) == 2 * (2 * 3 * 7 * 9 * 100)


def test_nothing_of_the_network_changes() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(0)
    state = torch.get_rng_state()
    assert count_flops(model, (torch.randn(5, 8, generator=torch.Generator()),)) == 2 * 2 * 64
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None and p.device.type == "cpu" for p in model.parameters())


def test_scalars_are_copied_with_the_network() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.inner, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.stem(x)
            return self.head(x + self.inner(x))

    model, x = Block(), torch.randn(2, 4)
    plain = count_flops(model, (x,))
    initialize_(model, "rezero", (x,))
    assert count_flops(model, (x,)) == plain


def test_anomaly_detection_is_no_matter_of_a_copy_without_values() -> None:
    model, x = nn.Linear(3, 3), torch.ones(2, 3)
    with warnings.catch_warnings(), torch.autograd.set_detect_anomaly(True):
        warnings.simplefilter("ignore", UserWarning)  # that it is slow
        assert count_flops(model, (x,)) == 2 * 2 * 3 * 3
        assert torch.is_anomaly_enabled()


def test_a_network_that_needs_values_has_no_number() -> None:
    class Chooser(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) if x.sum() > 0 else x

    assert count_flops(Chooser(3, 3), (torch.ones(2, 3),)) is None
