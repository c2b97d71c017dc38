"""The matrices that a parameter holds, filled one by one as [out, in, *kernel]."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import Tensor

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
    chosen, rows = _choose(value, pieces)
    dtype = torch.promote_types(value.dtype, torch.float32)
    for chunk in _split(chosen, value, layout, pieces, by_group):
        view = chunk.permute(_order(layout, value.ndim))
        shape = _shape(view, layout)
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


def block_shape(value: Tensor, layout: Layout, pieces: Sequence[Slice] = ()) -> torch.Size:
    """The shape of one of the matrices that `fill_blocks` fills: (out, in, *kernel)."""
    chosen = torch.empty_like(value, device="meta")
    chosen, _ = _choose(chosen, pieces)
    chunk = _split(chosen, value, layout, pieces, by_group=True)[0]
    return torch.Size(_shape(chunk.permute(_order(layout, value.ndim)), layout)[1:])


def _choose(value: Tensor, pieces: Sequence[Slice]) -> tuple[Tensor, Tensor | None]:
    """The chosen indices of a tensor: a view, or a copy and its indices."""
    if not pieces:
        return value, None
    first = pieces[0]
    if len(pieces) == 1:
        return value.narrow(first.dim, first.start, first.stop - first.start), None
    rows = torch.cat([torch.arange(piece.start, piece.stop, device=value.device) for piece in pieces])
    return value.index_select(first.dim, rows), rows


def _split(chosen: Tensor, value: Tensor, layout: Layout, pieces: Sequence[Slice], by_group: bool) -> tuple[Tensor, ...]:
    """The matrices that stand side by side in the chosen indices."""
    count = layout.chunks
    if not by_group and layout.kernel and layout.outputs == (0,):
        count = 1
    elif pieces and not pieces[0].dim:
        count = max(1, chosen.shape[0] * count // value.shape[0])
    return chosen.chunk(count) if count > 1 else (chosen,)


def _order(layout: Layout, ndim: int) -> tuple[int, ...]:
    """The dimensions with those of independent matrices first, then outputs, inputs and the kernel's."""
    own = (*layout.outputs, *layout.inputs, *layout.kernel)
    return (*(dim for dim in range(ndim) if dim not in own), *own)


def _shape(view: Tensor, layout: Layout) -> tuple[int, ...]:
    """(matrices, out, in, *kernel) of what is in that order."""
    sizes = list(view.shape)
    kernel = [sizes.pop() for _ in layout.kernel][::-1]
    inputs = prod(sizes.pop() for _ in layout.inputs)
    outputs = prod(sizes.pop() for _ in layout.outputs)
    return (prod(sizes), outputs, inputs, *kernel)
