"""BatchNorm over all processes takes the place of others without losing what belongs to them."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn

from idinit.errors import UsageError
from idinit.initialize import initialize_
from idinit_suite.training.sync_batchnorm import convert_sync_batchnorm

DEVICES = pytest.mark.parametrize("device", ["cpu", "cuda"])  # a conversion for GPUs needs none


@DEVICES
@pytest.mark.parametrize(("name", "method"), [("test_efficientnet", "default"), ("test_resnet", "rezero")])
def test_a_converted_network_computes_the_same(name: str, method: str, device: str) -> None:
    """Norms that hold activations, and norms whose output a hook multiplies."""
    model, x = timm.create_model(name, num_classes=4), torch.randn(2, 3, 64, 64)
    initialize_(model, method, (x,), seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim < 2:
                parameter.fill_(0.5)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    before, parameters = model.eval()(x), dict(model.named_parameters())
    convert_sync_batchnorm(model, torch.device(device))
    assert norms and not any(isinstance(norm, nn.BatchNorm2d) for norm in norms)
    assert torch.allclose(model(x), before, atol=1e-6)
    after = dict(model.named_parameters())
    assert after.keys() == parameters.keys() and all(after[name] is parameters[name] for name in parameters)


class Doubled(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


@DEVICES
def test_a_norm_that_computes_something_of_its_own_is_refused(device: str) -> None:
    with pytest.raises(UsageError, match="'1' is a Doubled"):
        convert_sync_batchnorm(nn.Sequential(nn.Conv2d(3, 4, 1), Doubled(4)), torch.device(device))
