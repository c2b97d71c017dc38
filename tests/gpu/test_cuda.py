"""What only a CUDA device can show: the same bytes as on the CPU, untouched random state, training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from idinit import initialize_, list_initializers, param_groups
from idinit.errors import UsageError
from idinit_suite.config import check, compose
from idinit_suite.training.trainer import train

pytestmark = pytest.mark.gpu


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 5)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 1)) for _ in range(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = (x + block(x)).relu()
        return self.head(x.mean((2, 3)))


X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("method", [info.name for info in list_initializers() if "inputs" not in info.needs])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_bytes_are_those_of_the_cpu(method: str, memory_format: torch.memory_format) -> None:
    on_cpu, on_gpu = Residual(), Residual().to("cuda", memory_format=memory_format)
    on_gpu.load_state_dict(on_cpu.state_dict())
    try:
        initialize_(on_cpu, method, (X,))
    except UsageError:
        pytest.skip("not for this network")
    state = torch.cuda.get_rng_state()
    initialize_(on_gpu, method, (X,))
    assert torch.equal(torch.cuda.get_rng_state(), state)
    moved = {name: value.cpu() for name, value in on_gpu.state_dict().items()}
    torch.testing.assert_close(moved, dict(on_cpu.state_dict()), rtol=0, atol=0)


@pytest.mark.parametrize("method", ["fixup", "skipinit", "idinit"])
def test_a_network_trains(method: str) -> None:
    model = Residual().cuda()
    initialize_(model, method, (X,))
    optimizer = torch.optim.SGD(param_groups(model, lr=0.1))
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(X.cuda()), torch.arange(4, device="cuda"))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_a_run_of_the_suite(tmp_path: Path) -> None:
    paths = [f"paths.{name}={tmp_path / name}" for name in ("data", "runs", "results")]
    settings = ["model=resnet", "model.depth=8", "model.width=4", "data=digits", "data.train_limit=256", "impl.device=cuda"]
    assert train(check(compose([*settings, *paths, "wandb.mode=disabled"])))["state"] == "done"
