"""Initialization of one tensor, in the style of ``torch.nn.init``: in place, returns the tensor, explicit generator.

A weight has shape [out, in] or, for a convolution over k positions (1d, 2d, 3d), [out, in, *kernel]. A convolution
becomes a matrix by its *layout*:

- ``patch``: [out, in * k], input channel slowest, what ``weight.view(out, -1)`` gives;
- ``spatial``: [out, k * in], position slowest;
- ``channel``: [out, in] on the centre tap, all other taps zero, as in ``torch.nn.init.dirac_``.

The three are the same for [out, in]. "Paper" below is IDInit (Pan et al. 2025, arXiv 2503.04626) unless stated otherwise.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn

from .errors import UsageError

Layout = Literal["patch", "spatial", "channel"]
HadamardScale = Literal["orthonormal", "paper"]


_KEPT_STD = 0.8796256610342398  # of a standard normal that is cut at two standard deviations


@torch.no_grad()
def truncated_normal_(w: Tensor, std: float, generator: Generator | None = None) -> Tensor:
    """Fills a tensor with a normal around 0 that is cut at two of its standard deviations.

    ``torch.nn.init.trunc_normal_`` takes the bounds in absolute units and the deviation before the cut; here the bounds
    follow the deviation, which is that of the values drawn, as in JAX.

    Args:
        w: Any floating tensor.
        std: Standard deviation of the values.
        generator: Source of randomness.

    Returns:
        ``w``.
    """
    scale = std / _KEPT_STD
    return nn.init.trunc_normal_(w, 0, scale, -2 * scale, 2 * scale, generator=generator)


@torch.no_grad()
def identity_(
    w: Tensor,
    tau: float = 1.0,
    layout: Layout = "patch",
    loose_std: float = 0.0,
    generator: Generator | None = None,
) -> Tensor:
    """Fills a weight with the padded identity IDI(tau): W[m, m mod columns] = tau, else 0 (paper: IDI, IDIC).

    Tall matrices stack identity blocks, wide ones ignore the surplus columns.

    Args:
        w: Weight of shape [out, in, *kernel], any floating dtype.
        tau: Value of the non-zero entries.
        layout: How a kernel becomes a matrix.
        loose_std: Standard deviation of a normal, never truncated, around ``tau``: the loose condition, which keeps
            equal rows from staying equal. The paper says 1e-6, which vanishes beside 1 in half precision. 0: exact.
        generator: Source of the noise; unused when ``loose_std`` is 0.

    Returns:
        ``w``.

    Raises:
        UsageError: If ``w`` has fewer than two dimensions, or the layout is unknown.
    """
    columns = _columns(w, layout)
    rows = torch.arange(len(w), device=w.device)
    values = torch.full((len(w),), tau, dtype=w.dtype, device=w.device)
    if loose_std:
        values += loose_std * torch.randn(len(w), generator=generator, dtype=w.dtype, device=w.device)
    w.zero_()[_at(w, layout, rows, rows % columns)] = values
    return w


@torch.no_grad()
def zero_preserving_(w: Tensor, eps: float = 1e-6, layout: Layout = "patch") -> Tensor:
    """Fills a weight with IDIZ(eps): each row is eps times the difference of two inputs (paper: IDIZ, IDIZC).

    Starts from IDI(eps). With fewer rows than columns the columns from ``out`` on get IDI(-eps); else
    W[m, (m + 1) mod columns] = -eps. Rows sum to zero; with rows >= columns the rank is columns - 1. A single column
    has no second input to subtract and holds -eps, which keeps it trainable.

    Args:
        w: Weight of shape [out, in, *kernel], any floating dtype.
        eps: Size of the non-zero entries.
        layout: How a kernel becomes a matrix.

    Returns:
        ``w``.

    Raises:
        UsageError: If ``w`` has fewer than two dimensions, or the layout is unknown.
    """
    out, columns = len(w), _columns(w, layout)
    rows = torch.arange(out, device=w.device)
    negative = out + rows % (columns - out) if out < columns else (rows + 1) % columns
    w.zero_()[_at(w, layout, rows, rows % columns)] = eps
    w[_at(w, layout, rows, negative)] = -eps
    return w


@torch.no_grad()
def hadamard_(w: Tensor, scale: HadamardScale = "orthonormal") -> Tensor:
    """Fills the centre tap with the upper left corner of a scaled Hadamard matrix (ZerO).

    The matrix is Sylvester's, of size p = 2^ceil(log2 out) (Zhao et al. 2022, Algorithms 1 and 2).

    Args:
        w: Weight of shape [out, in, *kernel], any floating dtype.
        scale: ``orthonormal``: p^(-1/2), as in the authors' notebook; singular values are 1 when out is a power of two.
            ``paper``: sqrt(2) times that, as Algorithm 1 prints it.

    Returns:
        ``w``.

    Raises:
        UsageError: If ``w`` has fewer than two dimensions.
    """
    out, columns = len(w), _columns(w, "channel")
    if columns > out:
        raise UsageError(f"hadamard_ widens: got [out, in] = [{out}, {columns}]; it needs out >= in")
    # The first n columns of Sylvester's matrix repeat those of the one of size >= n: no need for all p x p entries.
    size = 2 ** math.ceil(math.log2(columns))
    signs = _sylvester(size, w)
    exponent = math.ceil(math.log2(out)) - (scale == "paper")
    w.zero_()[_centre(w)] = signs[torch.arange(out, device=w.device) % size, :columns] * 2 ** (-exponent / 2)
    return w


@torch.no_grad()
def delta_orthogonal_(w: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fills the centre tap with a random matrix of orthonormal columns, the rest with zeros (Xiao et al. 2018).

    Args:
        w: Weight of shape [out, in, *kernel] with in <= out, any floating dtype.
        gain: Factor on the orthogonal matrix.
        generator: Source of randomness.

    Returns:
        ``w``.

    Raises:
        UsageError: If ``w`` has fewer than two dimensions, or more inputs than outputs.
    """
    out, columns = len(w), _columns(w, "channel")
    if columns > out:
        raise UsageError(f"delta_orthogonal_ keeps norms: got [out, in] = [{out}, {columns}]; it needs in <= out")
    matrix = nn.init.orthogonal_(w.new_empty(out, columns), gain, generator)
    w.zero_()[_centre(w)] = matrix
    return w


def _sylvester(size: int, like: Tensor) -> Tensor:
    """Sylvester's Hadamard matrix [size, size], for a power of two: H(2n) = [[H(n), H(n)], [H(n), -H(n)]]."""
    signs = like.new_ones(1, 1)
    while len(signs) < size:
        signs = torch.cat([torch.cat([signs, signs], 1), torch.cat([signs, -signs], 1)])
    return signs


@torch.no_grad()
def sinusoidal_(w: Tensor) -> Tensor:
    """Fills a weight with sines, of variance 2 / (fan-in + fan-out); each row of [out, in * k] sums to zero.

    Row i of a matrix with n columns has the frequency 1 + i mod F, of F = n // 2, and of the R rows of a frequency the r-th
    has the phase pi (r + 1/2) / R. Its rank is min(out, n - 1), the largest that rows with a sum of zero can have (after
    Fernandez-Hernandez et al. 2025, whose formula has half of that in square matrices).

    Args:
        w: Weight of shape [out, in, *kernel], any floating dtype.

    Returns:
        ``w``.

    Raises:
        UsageError: If ``w`` has fewer than two dimensions.
    """
    columns = _columns(w, "patch")
    frequencies = max(1, columns // 2)
    row = torch.arange(len(w), dtype=torch.float64).unsqueeze(1)
    shift = (row // frequencies + 0.5) / math.ceil(len(w) / frequencies)  # in half periods
    turns = (1 + row % frequencies) * torch.arange(columns, dtype=torch.float64) / columns
    waves = torch.sin(2 * math.pi * turns + math.pi * shift)
    fan_out = w.numel() / w.shape[1]
    waves *= (2 / (columns + fan_out) / waves.square().mean()).sqrt()
    return w.copy_(waves.view(w.shape))


def _columns(w: Tensor, layout: Layout) -> int:
    """Number of columns of the weight's matrix."""
    if w.ndim < 2:
        raise UsageError(f"a weight needs the shape [out, in, *kernel]; got {list(w.shape)}")
    if layout not in ("patch", "spatial", "channel"):
        raise UsageError(f"unknown layout '{layout}'. Valid: channel, patch, spatial")
    return w.shape[1] if layout == "channel" else w[0].numel()


def _at(w: Tensor, layout: Layout, rows: Tensor, columns: Tensor) -> tuple[Any, ...]:
    """Index into the weight of entries of its matrix."""
    inputs, *kernel = w.shape[1:]
    if layout == "channel":
        return (rows, columns, *_centre(w)[2:])
    if layout == "patch":
        return (rows, *torch.unravel_index(columns, (inputs, *kernel)))
    *taps, channels = torch.unravel_index(columns, (*kernel, inputs))
    return (rows, channels, *taps)


def _centre(w: Tensor) -> tuple[Any, ...]:
    """Index into the weight of its centre tap, [out, in]."""
    return (slice(None), slice(None), *(k // 2 for k in w.shape[2:]))
