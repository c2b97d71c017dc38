"""Dynamical isometry: the singular values of a network's input-output Jacobian.

A network is *critical* where their mean square is 1: on average a small change of the input neither grows nor shrinks.
It is a *dynamical isometry* where all of them are near 1, so that no direction is lost or blown up (Saxe et al. 2014,
arXiv 1312.6120; Pennington et al. 2017, arXiv 1711.04735). The second implies the first and not the other way round.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.func import jacrev, vjp

from ..errors import UsageError, needs_extra

if TYPE_CHECKING:
    import numpy as np

Function = Callable[[Tensor], Tensor]


def jacobian_singular_values(function: Function, x: Tensor, *, chunk: int | None = None) -> Tensor:
    """All singular values of the Jacobian of a function at one point, exactly: from the whole matrix.

    Args:
        function: Differentiable, from a tensor to a tensor, such as a network in evaluation mode. It must not mix in
            other examples: ``x`` is the whole input.
        x: The point, of any shape; n elements, the function's output has m. Take float64 where values may span many
            orders of magnitude.
        chunk: Rows of the Jacobian that are computed at once; fewer need less memory. None: all.

    Returns:
        The min(m, n) singular values, the largest first, of the dtype of ``x``. They are NaN where the Jacobian is not
        finite.
    """
    jacobian = jacrev(lambda v: function(v).flatten(), chunk_size=chunk)(x)
    matrix = jacobian.reshape(len(jacobian), x.numel()).detach()
    if not torch.isfinite(matrix).all():
        return torch.full((min(matrix.shape),), torch.nan, dtype=x.dtype, device=x.device)
    return torch.linalg.svdvals(matrix)


def largest_singular_values(function: Function, x: Tensor, count: int, *, seed: int = 0) -> Tensor:
    """The largest singular values of the Jacobian, by Lanczos iteration (ARPACK) without forming the matrix.

    Each iteration costs a product with the Jacobian and one with its transpose, so that wide networks are in reach.

    Args:
        function: As for `jacobian_singular_values`.
        x: The point; n elements, the function's output has m.
        count: How many values; less than min(m, n).
        seed: Seed of the starting vector.

    Returns:
        ``count`` singular values, the largest first, of the dtype of ``x``; NaN where the Jacobian is not finite.

    Raises:
        UsageError: If ``count`` is not between 1 and min(m, n) - 1, or SciPy is not installed.
    """
    with needs_extra("diagnostics", "largest_singular_values"):  # slow to import, and of use to nothing else here
        import numpy as np
        from scipy.sparse.linalg import LinearOperator, svds

    point = x.detach()
    out = function(point).detach()
    size = min(out.numel(), point.numel())
    if not 0 < count < size:
        raise UsageError(f"count={count}: Lanczos iteration finds 1 to {size - 1} of the {size} singular values")

    def transposed(u: Tensor) -> Tensor:
        return _pull_back(function, point)(u)[0]

    # The product with the transpose is linear in u: its own transpose is the product with the Jacobian. Forward-mode
    # differentiation would do the same, and lacks operators.
    pull, push = _pull_back(function, point), _pull_back(transposed, torch.zeros_like(out))
    dtype = _numpy(point).dtype
    products = {
        "matvec": lambda v: _numpy(push(_like(v, point))[0]),
        "rmatvec": lambda u: _numpy(pull(_like(u, out))[0]),
    }
    operator = LinearOperator((out.numel(), point.numel()), dtype=dtype, **products)
    start = np.random.default_rng(seed).standard_normal(size).astype(dtype)
    size_of_image = float(np.linalg.norm(operator.matvec(operator.rmatvec(start) if out.numel() < point.numel() else start)))
    if not 0 < size_of_image < np.inf:  # a map that is zero, or not finite, which ARPACK takes for a mistake
        return torch.full((count,), 0.0 if size_of_image == 0 else torch.nan).to(point)
    values = svds(operator, k=count, v0=start, return_singular_vectors=False)
    return _like(np.sort(values)[::-1].copy(), point, (count,))


def _pull_back(function: Function, x: Tensor) -> Callable[[Tensor], tuple[Tensor]]:
    back: Callable[[Tensor], tuple[Tensor]] = vjp(function, x)[1]
    return back


def _numpy(values: Tensor) -> np.ndarray:
    flat: np.ndarray = values.detach().flatten().cpu().numpy()
    return flat


def _like(values: np.ndarray, tensor: Tensor, shape: tuple[int, ...] | None = None) -> Tensor:
    return torch.as_tensor(values).to(tensor).reshape(tensor.shape if shape is None else shape)
