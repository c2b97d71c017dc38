"""Short trainings of real networks, from the trainer's own pieces: data, models, initializers, optimizers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from idinit.initialize import initialize_
from idinit.network.report import Report
from idinit.parts import Structure, find_structure

from ...data import DATASETS, DataContext, Images
from ...models import MODELS
from ...optim.optimizers import OPTIMIZERS, set_rate
from ...optim.schedules import SCHEDULES
from ...seeds import generator
from ..base import Setting

WARMUP = 0.15  # share of the steps in which the rate rises


@dataclass(frozen=True)
class Recipe:
    """The recipe that networks of a study share.

    Attributes:
        setting: Data and device.
        data: Name of a set of images.
        shrink: Factor by which averaging makes the images smaller; a divisor of 32.
        batch: Examples in a step.
        optimizer: Name in the registry; without weight decay, which would move weights that nothing else moves.
        rate: Learning rate, after a warm-up constant.
        steps: Updates.
    """

    setting: Setting
    data: str
    shrink: int
    batch: int
    optimizer: str
    rate: float
    steps: int


class ShortTraining:
    """One network in training.

    Args:
        recipe: How.
        method: Initializer.
        options: Its options.
        model: Options of the ResNet.
        seed: Of initialization, order and augmentation.
        structure: Parts of the network, where they are known: of a deep one they take longer to find than to fill.

    Attributes:
        net: The network.
        structure: Its parts.
        report: What the initializer did.
        losses: Training losses so far; the last one is not finite where the network has diverged.
    """

    def __init__(
        self,
        recipe: Recipe,
        method: str,
        options: Mapping[str, Any],
        model: Mapping[str, Any],
        seed: int,
        structure: Structure | None = None,
    ) -> None:
        self.recipe = recipe
        entry, device = DATASETS[recipe.data], recipe.setting.device
        loading = DATASETS.check(recipe.data, {"batch_size": recipe.batch, "validation": 0})
        self._data = entry.build(DataContext(recipe.setting.data, seed, device), **loading)
        given = self._data.spec
        assert isinstance(given, Images)
        channels, *sides = given.shape
        spec = Images((channels, *(side // recipe.shrink for side in sides)), given.num_classes)
        self.net: nn.Module = MODELS["resnet"].build(spec, **model)
        example = self._shrunk(self._data.example_inputs()[0]).cpu()
        self.structure = structure or find_structure(self.net, (example,))
        self.report: Report = initialize_(
            self.net, method, (example,), parts=self.structure, generator=generator(seed, "init"), **options
        )
        self.net.to(device)
        self.losses: list[float] = []

    def run(self) -> None:
        """Takes all steps, or as many as have a finite loss."""
        recipe = self.recipe
        settings = OPTIMIZERS.check(recipe.optimizer, {"lr": recipe.rate, "weight_decay": 0})
        update = OPTIMIZERS[recipe.optimizer].build(self.net, **settings)
        for step in range(recipe.steps):
            inputs, labels = self.batch(step)
            set_rate(update, SCHEDULES["constant"].build(step, recipe.steps, warmup=WARMUP))
            loss = F.cross_entropy(self.net(*inputs), labels)
            self.losses.append(loss.item())
            if not math.isfinite(self.losses[-1]):
                return
            update.zero_grad()
            loss.backward()
            update.step()

    def batch(self, step: int) -> tuple[tuple[Tensor], Tensor]:
        """The training batch of a step: arguments of the network, and labels."""
        inputs, labels = self._data.train_batch(step)
        assert isinstance(labels, Tensor)  # no mixup
        return (self._shrunk(inputs[0]),), labels

    @cached_property
    def examples(self) -> list[tuple[tuple[Tensor], Tensor]]:
        """All training examples in batches, not augmented."""
        return [((self._shrunk(inputs[0]),), labels) for inputs, labels in self._data.evaluation_batches("train")]

    def _shrunk(self, images: Tensor) -> Tensor:
        return F.avg_pool2d(images, self.recipe.shrink)
