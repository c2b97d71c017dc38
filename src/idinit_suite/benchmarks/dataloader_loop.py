"""An ordinary training script for images: PIL transforms, a DataLoader with two workers, float32, eager, contiguous memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tvf

from ..config import RunConfig
from ..data import Batches, load_images
from ..training.build import build


class Pictures(Dataset[tuple[Any, int]]):
    """Training images of a set as PIL pictures, transformed one by one.

    Attributes:
        transform: What is done to each picture.
        mean: Of the channels, for images in 0..1.
        std: As ``mean``.
    """

    def __init__(self, config: RunConfig) -> None:
        images = load_images(config.data["name"], config.paths.data)
        self._pictures = [tvf.to_pil_image(image) for image in images.train_images]
        self._labels = images.train_labels.tolist()
        self.transform: Any = None
        self.mean, self.std = images.mean, images.std

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(self._pictures[index]), self._labels[index]


def ordinary_loop(config: RunConfig, data: Batches, device: torch.device) -> Iterator[None]:
    """Training steps as in the usual CIFAR scripts; each ``next`` is one step."""
    torch.manual_seed(0)  # its transforms and its order draw from the global state
    pictures = Pictures(config)
    side = data.example_inputs(1)[0].shape[-1]
    to_tensor = [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(pictures.mean), list(pictures.std))]
    pictures.transform = v2.Compose([v2.RandomCrop(side, padding=4), v2.RandomHorizontalFlip(), *to_tensor])
    loader = DataLoader(pictures, data.batch_size, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True)
    model = build(config, data)[0].to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
    criterion = nn.CrossEntropyLoss()
    while True:
        for inputs, targets in loader:
            loss: Tensor = criterion(model(inputs.to(device)), targets.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
            yield
