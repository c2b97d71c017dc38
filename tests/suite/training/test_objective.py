import pytest
import torch
from torch import Tensor

from idinit_suite.data import Mixed
from idinit_suite.training.objective import Classification

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 3.0]])


def reference(logits: Tensor, label: int, smoothing: float) -> float:
    """Cross-entropy from its definition, for one row."""
    log_p = [float(x) - float(torch.logsumexp(logits, 0)) for x in logits]
    return -(1 - smoothing) * log_p[label] - smoothing * sum(log_p) / len(log_p)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_the_mean_cross_entropy(smoothing: float) -> None:
    expected = (reference(LOGITS[0], 0, smoothing) + reference(LOGITS[1], 1, smoothing)) / 2
    assert Classification(smoothing).loss(LOGITS, torch.tensor([0, 1])).item() == pytest.approx(expected, rel=1e-6)


def test_mixed_labels_count_by_their_share() -> None:
    mixed = Mixed(torch.tensor([0, 2]), torch.tensor([1, 1]), torch.tensor(0.7))
    task = Classification()
    parts = [task.loss(LOGITS, mixed.labels_a).item(), task.loss(LOGITS, mixed.labels_b).item()]
    assert task.loss(LOGITS, mixed).item() == pytest.approx(0.7 * parts[0] + 0.3 * parts[1], rel=1e-6)
    assert task.correct(LOGITS, mixed).item() == pytest.approx(2 * 0.7)


def test_correct_counts_right_answers() -> None:
    assert Classification().correct(LOGITS, torch.tensor([0, 1])).item() == 1


def test_the_first_of_equal_logits_is_the_answer() -> None:
    """In bfloat16 the best of a vocabulary are often equal."""
    logits = torch.randn(50, 8192, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert (logits == logits.amax(1, keepdim=True)).sum() > 50  # there are such
    assert Classification().correct(logits, logits.argmax(1)).item() == 50


def test_loss_of_half_precision_logits_is_computed_in_float32() -> None:
    assert Classification().loss(LOGITS.bfloat16(), torch.tensor([0, 1])).dtype == torch.float32
