"""Throughput of the training loop against its ceiling and against the ordinary way, in one run.

The machine is shared and noisy, so the contestants take turns, and each turn is compared with the others of its round.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tvf

from ..config import RunConfig
from ..data import Batches, Inputs, load_images
from .build import build
from .compiled import CompiledNetworks
from .distributed import Workers
from .environment import describe
from .loop import Training
from .progress import console
from .run_folder import RunFolder


@dataclass(frozen=True)
class Contest:
    """Images per second of each contestant in each round.

    Attributes:
        speeds: Name -> one value a round.
    """

    speeds: dict[str, list[float]]

    def ratio(self, one: str, other: str) -> float:
        """Median over rounds of how many times as fast ``one`` is."""
        return statistics.median(a / b for a, b in zip(self.speeds[one], self.speeds[other], strict=True))


OURS, CEILING, ORDINARY = "this loop", "same step, batch already on the device", "ordinary loop"


def bench(config: RunConfig, *, rounds: int = 5, steps: int = 8) -> Contest:
    """Measures a run's model and data.

    Args:
        config: The run whose steps are taken; nothing is kept of it.
        rounds: Turns of each contestant.
        steps: Training steps of a turn.

    Returns:
        Speeds of this loop, of the same steps on a batch that lies on the device, and of an ordinary loop: PIL transforms,
        a DataLoader with two workers, float32, eager, contiguous memory.
    """
    team = Workers(0, 1, config.impl.torch_device())
    with tempfile.TemporaryDirectory() as folder:
        ours = Training(config, team, RunFolder(Path(folder)), CompiledNetworks(), threading.Event())
        held = Training(config, team, RunFolder(Path(folder)), CompiledNetworks(), threading.Event())
    held.data = _Held(held.data)
    ordinary = _ordinary_steps(config, ours.data, team.device)
    contestants: dict[str, Callable[[], Any]] = {
        OURS: ours.update,
        CEILING: held.update,
        ORDINARY: lambda: next(ordinary),
    }
    speeds: dict[str, list[float]] = {name: [] for name in contestants}
    for round_ in range(rounds + 1):
        for name, step in contestants.items():
            seconds = _seconds(step, steps, team.device)
            if round_ > 0:  # the first round warms up: compilation, worker start, allocation
                speeds[name].append(steps * ours.data.batch_size / seconds)
    return Contest(speeds)


def show(config: RunConfig, contest: Contest) -> None:
    """Prints the contest as a table, with what it ran on."""
    environment = describe(config.impl.torch_device())
    hardware = environment["hardware"]
    impl = config.impl
    table = Table(
        title=f"{config.model['name']} {config.options('model').get('depth', '')}, batch {config.data['batch_size']}, "
        f"{impl.precision}{', compiled' if impl.compile else ''}; torch {environment['torch']}, "
        f"{hardware['gpu'] or hardware['cpu']}, {hardware['threads']} threads"
    )
    for heading in ("", "images/s (median)", "this loop is faster by"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, values in contest.speeds.items():
        ratio = "" if name == OURS else f"{contest.ratio(OURS, name):.2f} x"
        table.add_row(name, f"{statistics.median(values):.0f}", ratio)
    console.print(table)


class _Held:
    """A data set that always gives the same batch, which is on the device already."""

    def __init__(self, data: Batches) -> None:
        self._batch = data.train_batch(0)
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._data, name)

    def train_batch(self, step: int) -> tuple[Inputs, Any]:
        return self._batch


class _Pictures(Dataset[tuple[Tensor, int]]):
    """Training images as PIL pictures, transformed one by one as in the usual CIFAR scripts."""

    def __init__(self, images: Tensor, labels: Tensor, mean: list[float], std: list[float]) -> None:
        self._pictures = [tvf.to_pil_image(image) for image in images]
        self._labels = labels.tolist()
        to_tensor = [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)]
        self._transform = v2.Compose([v2.RandomCrop(images.shape[-1], padding=4), v2.RandomHorizontalFlip(), *to_tensor])

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(self._pictures[index]), self._labels[index]


def _ordinary_steps(config: RunConfig, data: Any, device: torch.device) -> Any:
    """Training steps as an ordinary script takes them; each ``next`` is one step."""
    torch.manual_seed(0)  # its transforms and its order draw from the global state
    images = load_images(config.data["name"], config.paths.data)
    pictures = _Pictures(images.train_images, images.train_labels, list(images.mean), list(images.std))
    loader = DataLoader(
        pictures, config.data["batch_size"], shuffle=True, num_workers=2, drop_last=True, persistent_workers=True
    )
    model = build(config, data)[0].to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
    criterion = nn.CrossEntropyLoss()
    while True:
        for inputs, targets in loader:
            loss = criterion(model(inputs.to(device)), targets.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
            yield


def _seconds(step: Callable[[], Any], count: int, device: torch.device) -> float:
    started = time.perf_counter()
    for _ in range(count):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
