"""Objectives: the loss of a batch, and the number of its correct predictions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..data import Mixed


@dataclass(frozen=True)
class Classification:
    """One class for each input.

    Attributes:
        label_smoothing: Probability spread evenly over all classes.
    """

    label_smoothing: float = 0.0

    def loss(self, logits: Tensor, target: Tensor | Mixed) -> Tensor:
        """Mean cross-entropy in float32 of logits [N, classes]."""
        logits = logits.float()
        if isinstance(target, Mixed):
            first = F.cross_entropy(logits, target.labels_a, label_smoothing=self.label_smoothing)
            second = F.cross_entropy(logits, target.labels_b, label_smoothing=self.label_smoothing)
            return target.lam * first + (1 - target.lam) * second
        return F.cross_entropy(logits, target, label_smoothing=self.label_smoothing)

    def answers(self, target: Tensor | Mixed) -> Tensor:
        """Number of answers asked for, as a float32 scalar on the device of the target."""
        labels = target.labels_a if isinstance(target, Mixed) else target
        return torch.full((), float(len(labels)), device=labels.device)

    def correct(self, logits: Tensor, target: Tensor | Mixed) -> Tensor:
        """Number of right answers; for mixed labels, those of each counted by its share."""
        answer = logits.max(dim=1).indices  # argmax, which takes twice as long over a vocabulary on a CPU
        if isinstance(target, Mixed):
            shares = target.lam * (answer == target.labels_a) + (1 - target.lam) * (answer == target.labels_b)
            return shares.sum()
        return (answer == target).sum()

    def correct_in_top5(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Number of labels [N] that are among the five largest of logits [N, classes]."""
        return (logits.topk(5).indices == labels[:, None]).sum()
