"""What all tests share: no GPU but for those marked with it, one thread, no internet, no W&B account."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

# Set before torch is imported; processes that tests start inherit it.
os.environ |= {
    "OMP_NUM_THREADS": "1",  # two pytest workers share the cores
    "HF_HUB_OFFLINE": "1",
    "MPLBACKEND": "Agg",
    "NETRC": os.devnull,
    "WANDB_ERROR_REPORTING": "false",
}
for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_MODE"):
    os.environ.pop(name, None)


def pytest_configure(config: pytest.Config) -> None:
    """Hides GPUs unless only the tests that need one are asked for, with ``-m gpu``."""
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips tests that need a GPU where there is none."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked:
        import torch  # after the environment is set

        if not torch.cuda.is_available():
            for item in marked:
                item.add_marker(pytest.mark.skip(reason="needs a GPU: make test-gpu"))


@pytest.fixture(scope="session", autouse=True)
def _no_internet() -> Iterator[None]:
    """Fails a test that opens a connection to another machine."""
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost", "0.0.0.0"):
            raise AssertionError(f"a test opened a connection to {address}")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", local_only)
        yield
