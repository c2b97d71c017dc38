"""Numerical and effective rank: how many directions a matrix uses."""

from __future__ import annotations

import torch
from torch import Tensor


def numerical_rank(matrix: Tensor, *, threshold: float | None = None) -> Tensor:
    """Number of singular values above a share of the largest one.

    Args:
        matrix: Of shape [..., rows, columns].
        threshold: The share. None: max(rows, columns) times the machine epsilon of the dtype, as in NumPy and LAPACK,
            below which a value may be rounding alone. What was trained in a lower precision needs the epsilon of that.

    Returns:
        Ranks of shape [...], int64; 0 for a matrix of zeros.
    """
    return torch.linalg.matrix_rank(matrix, rtol=threshold)


def effective_rank(matrix: Tensor) -> Tensor:
    """Number of directions weighted by their size: the exponential of the entropy of the normalized singular values.

    It needs no threshold and is at most the rank, with equality where all singular values are equal (Roy & Vetterli 2007,
    "The effective rank").

    Args:
        matrix: Of shape [..., rows, columns].

    Returns:
        Effective ranks of shape [...], of the dtype of ``matrix``; 0 for a matrix of zeros.
    """
    values = torch.linalg.svdvals(matrix)
    total = values.sum(-1, keepdim=True)
    shares = values / total.clamp_min(torch.finfo(values.dtype).tiny)
    return torch.special.entr(shares).sum(-1).exp() * (total.squeeze(-1) > 0)
