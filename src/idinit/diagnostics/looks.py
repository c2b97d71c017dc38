"""Infers from a weight's values alone by which rule it seems to have been filled."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_MANY = 1_000_000  # entries that are looked at in a larger weight
_SHORT = 64  # rows, or columns, that are tested for being orthogonal
# Largest entry, in standard deviations, of a uniform and of normals truncated at 2 and 3 sigma.
_UNIFORM, _CUT_AT_2, _CUT_AT_3 = 1.74, 2.28, 3.05
_OUTLIER = 25.0  # standard deviations of the bulk of a weight, beyond which no normal reaches


@dataclass(frozen=True)
class Looks:
    """What the values of a weight look like.

    Attributes:
        rule: ``zeros``, ``constant``, ``identity``, ``Dirac`` (the identity on the centre tap), ``zero-preserving``,
            ``equal magnitudes`` (as Hadamard's), ``orthogonal``, ``uniform``, ``truncated normal``, ``normal``, ``random``
            (too few values to tell, or of no such shape), ``not finite``.
        std: Root mean square of the values.
        fan_in: How many values each output adds up.
        size: How many values there are.
        peak: The largest of them, in absolute value.
        outliers: Share of values far beyond the bulk of the others, in a weight that is otherwise random.
    """

    rule: str
    std: float
    fan_in: int
    size: int
    peak: float
    outliers: float = 0.0

    @property
    def spread(self) -> float:
        """Root mean square times sqrt(fan-in): 1 keeps the size of signals."""
        return self.std * self.fan_in**0.5


def look_at(w: Tensor) -> Looks:
    """What the values of a weight look like.

    Args:
        w: [matrices, out, in, *kernel], on any device, of any floating dtype.
    """
    w = w.detach()
    fan_in, size = w[0, 0].numel(), w.numel()
    peak = float(w.abs().max()) if size else 0.0
    if not math.isfinite(peak):
        return Looks("not finite", math.nan, fan_in, size, peak)
    whole = w
    if size > _MANY:
        w = w[:, : max(1, _MANY * w.shape[1] // size)] if w.shape[1] > 1 else w[: max(1, _MANY * len(w) // size)]
    w = w.float().cpu()
    std = (w / max(peak, 1e-30)).square().mean().sqrt().item() * peak
    outliers = _outliers(w, whole, peak)
    return Looks("random" if outliers else _rule(w, peak), std, fan_in, size, peak, outliers)


def _rule(w: Tensor, peak: float) -> str:
    if not peak:
        return "zeros"
    if w.numel() > 1 and bool((w == w.flatten()[0]).all()):
        return "constant"
    taps = w.flatten(3) if w.ndim > 3 else w.unsqueeze(3)
    centre = taps[..., taps.shape[3] // 2]  # of kernels of odd size
    is_centred = w.ndim > 3 and centre.numel() < w.numel() and int((w != 0).sum()) == int((centre != 0).sum())
    matrix = centre if is_centred else w.flatten(2)
    return _structured(matrix, is_centred, peak) or _distribution(w.flatten())


def _structured(matrix: Tensor, is_centred: bool, peak: float) -> str:
    """The rule of a weight whose entries are not drawn one by one; nothing where they seem to be."""
    where = matrix.abs() > 1e-3 * peak
    counts = where.sum(2)
    columns = matrix.shape[2]
    diagonal = torch.arange(matrix.shape[1]) % columns
    on_diagonal = where[:, torch.arange(matrix.shape[1]), diagonal]
    if columns > 1 and bool((counts <= 1).all()) and float(on_diagonal.float().mean()) > 0.99 * min(1, columns / len(diagonal)):
        return "Dirac" if is_centred else "identity"
    if columns > 1 and bool((counts == 2).all()) and bool((matrix.sum(2).abs() <= 1e-3 * peak).all()):
        return "zero-preserving"
    if columns > 1 and bool((matrix.abs() - peak).abs().max() <= 1e-3 * peak):
        return "equal magnitudes"
    ending = " on the centre tap" if is_centred else ""
    return f"orthogonal{ending}" if all(_is_orthogonal(m) for m in (matrix[0], matrix[-1])) else ""


def _is_orthogonal(m: Tensor) -> bool:
    """Whether the rows, or the columns if there are fewer, are orthogonal and of the same length."""
    m = (m if m.shape[0] <= m.shape[1] else m.T)[:_SHORT]
    gram = m @ m.T
    scale = gram.diagonal().mean()
    return len(m) > 1 and bool(scale > 0) and bool((gram / scale - torch.eye(len(m))).abs().max() < 2e-3)


def _distribution(x: Tensor) -> str:
    """The shape of the distribution of independent values around 0."""
    count, std = len(x), x.std().item() if len(x) > 1 else 0.0
    if count < 32 or not std:
        return "random"
    z = (x - x.mean()) / std
    kurtosis, peak = z.pow(4).mean().item(), z.abs().max().item()
    if peak < _UNIFORM + 0.1 and kurtosis < 2.1:
        return "uniform"
    if count >= 200 and peak < _CUT_AT_2 + 0.02 and kurtosis < 2.7:
        return "truncated normal"
    if count >= 3000 and peak < _CUT_AT_3:
        return "truncated normal"
    return "normal" if abs(kurtosis - 3) < max(0.5, 6 * (24 / count) ** 0.5) else "random"


def _outliers(w: Tensor, whole: Tensor, peak: float) -> float:
    """Share of a weight's values that are far beyond the bulk of a sample, if that is a small share of many."""
    limit = _OUTLIER * w.abs().median().item() / 0.6745
    if w.numel() < 64 or not 0 < limit < peak:
        return 0.0
    share = float((whole.abs() > limit).float().mean())
    return share if share < 0.05 else 0.0
