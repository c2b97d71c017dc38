"""Fills the matrices that a parameter holds, one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..parts.blocks import choose, stack, stacked_shape
from ..parts.layout import Layout
from ..parts.structure import Slice


def fill_blocks(
    value: Tensor,
    layout: Layout,
    init: Callable[[Tensor], object],
    pieces: Sequence[Slice] = (),
    by_group: bool = True,
) -> None:
    """Fills the matrices of a parameter.

    Args:
        value: What the parameter holds, of any shape, dtype, device and memory format; filled in place.
        layout: How it holds matrices.
        init: Fills a matrix [out, in, *kernel] in place. It gets contiguous CPU memory in float32 or better.
        pieces: Fill these indices only, taken together as one matrix: the rows of several heads' values, say.
        by_group: Whether the groups of a convolution are matrices of their own, or one, [out, in / groups, *kernel].
    """
    chosen, rows = choose(value, pieces)
    dtype = torch.promote_types(value.dtype, torch.float32)
    view = stack(chosen, value, layout, pieces, by_group=by_group)
    shape = stacked_shape(view, layout)
    if view.is_contiguous() and view.is_cpu and view.dtype == dtype:
        for matrix in view.view(shape):
            init(matrix)
    else:
        scratch = torch.empty(shape, dtype=dtype)
        for matrix in scratch:
            init(matrix)
        view.copy_(scratch.view(view.shape))
    if rows is not None:
        value.index_copy_(pieces[0].dim, rows, chosen)
