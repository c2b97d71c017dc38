"""Loss and accuracy of a network on the splits of its data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..config import RunConfig
from ..data import Batches, Images, Inputs
from .distributed import Team
from .objective import Classification
from .precision import autocast
from .sharding import is_sharded

TOP5_FROM = 100  # classes: with fewer, five guesses say little


@dataclass(frozen=True)
class Evaluator:
    """Evaluates a network.

    Attributes:
        config: The run.
        team: Its processes, each of which evaluates its share.
        data: What to evaluate on.
        splits: Which of the data's splits.
    """

    config: RunConfig
    team: Team
    data: Batches
    splits: Sequence[str]

    @torch.no_grad()
    def __call__(self, network: nn.Module, forward: nn.Module) -> dict[str, dict[str, float]]:
        """Evaluates on each split, over all processes.

        Args:
            network: The network; it is in training mode afterwards.
            forward: The same weights as they are called, such as the compiled network. Not wrapped for several processes: one
                that has no batch would not take part.

        Returns:
            Split -> mean cross-entropy ``loss`` without label smoothing, ``accuracy``, and of images of many classes
            ``top5_accuracy``.
        """
        network.eval()
        self.team.broadcast_buffers(network)
        plain, rows = Classification(), {}
        spec = self.data.spec
        has_top5 = isinstance(spec, Images) and spec.num_classes >= TOP5_FROM
        for split in self.splits:
            sums = torch.zeros(4, device=self.team.device, dtype=torch.float64)
            for inputs, targets in self._batches(split, forward):
                with autocast(self.config, self.team.device):
                    logits = forward(*inputs)
                sums[0] += plain.loss(logits, targets) * len(targets)
                sums[1] += plain.correct(logits, targets)
                sums[2] += len(targets)
                if has_top5:
                    sums[3] += plain.correct_in_top5(logits, targets)
            loss, correct, count, in_top5 = self.team.all_reduce_sum(sums).tolist()
            rows[split] = {"loss": loss / count, "accuracy": correct / count}
            if has_top5:
                rows[split]["top5_accuracy"] = in_top5 / count
        network.train()
        return rows

    def _batches(self, split: str, forward: nn.Module) -> Iterator[tuple[Inputs, Tensor]]:
        """This process's batches of a split.

        Where weights are shared out, a process that has fewer calls the network all the same: all take part in each call.
        """
        batches = self.data.evaluation_batches(split)
        if not is_sharded(self.config, self.team):
            yield from batches
            return
        examples = tuple(tensor.to(self.team.device) for tensor in self.data.example_inputs())
        while self.team.any((batch := next(batches, None)) is not None):
            if batch is None:
                forward(*examples)
            else:
                yield batch
