"""The global random state is neither read nor moved, on any device, also where a forward pass draws random numbers."""

import pytest
import torch
from torch import nn

from idinit import check_zeros
from idinit.diagnostics.branches import branch_sizes
from idinit.diagnostics.signal_profile import signal_profile
from idinit.initialize import initialize_
from idinit.zoo import load


class Sampler(nn.Module):
    """A residual network that adds noise to what it computes, in evaluation too, as a variational autoencoder does."""

    def __init__(self):
        super().__init__()
        self.stem, self.inner, self.head = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.inner(x + torch.randn_like(x))
        return self.head(nn.functional.dropout(x, 0.5, training=True))


X = torch.rand(3, 4)
CALLS = {
    "initialize": lambda model: initialize_(model, "idinit", (X,)).rows,
    "lsuv": lambda model: (initialize_(model, "lsuv", (X,)).rows, model.head.weight.tolist()),
    "signal": lambda model: signal_profile(model, (X,)),
    "branches": lambda model: branch_sizes(model, (X,)),
    "zeros": lambda model: check_zeros(model, (X,)),
    "zoo": lambda _model: load("torchvision:resnet18", (3, 32, 32))[1][0].tolist(),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_forward_pass_that_draws_moves_no_generator(call, monkeypatch):
    def fail(*_seed):
        raise AssertionError("a generator of another device was seeded")

    for device in ("cuda.manual_seed_all", "cuda.manual_seed", "mps.manual_seed", "xpu.manual_seed_all"):
        monkeypatch.setattr(f"torch.{device}", fail)
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        model = Sampler()
        values = {name: value.clone() for name, value in model.state_dict().items()}
        results = []
        for seed in (1, 2):
            model.load_state_dict(values)
            torch.default_generator.manual_seed(seed)
            state = torch.get_rng_state()
            results.append(CALLS[call](model))
            assert torch.equal(torch.get_rng_state(), state)
    assert results[0] == results[1]
