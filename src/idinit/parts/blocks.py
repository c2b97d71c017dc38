"""The matrices that a parameter holds, as blocks [out, in, *kernel]."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from .layout import Layout
from .structure import Slice


def matrices(value: Tensor, layout: Layout, pieces: Sequence[Slice] = ()) -> Tensor:
    """The matrices that a parameter holds, as [matrices, out, in, *kernel].

    Args:
        value: The parameter, or what is computed from it.
        layout: How it holds matrices.
        pieces: These indices only, taken together: the rows of several heads' values, say.
    """
    chosen, _ = choose(value, pieces)
    view = stack(chosen, value, layout, pieces)
    return view.reshape(stacked_shape(view, layout))


def block_shape(value: Tensor, layout: Layout, pieces: Sequence[Slice] = ()) -> torch.Size:
    """The shape of one of the matrices that a parameter holds: (out, in, *kernel)."""
    chosen, _ = choose(torch.empty_like(value, device="meta"), pieces)
    return torch.Size(stacked_shape(stack(chosen, value, layout, pieces), layout)[1:])


def choose(value: Tensor, pieces: Sequence[Slice]) -> tuple[Tensor, Tensor | None]:
    """The chosen indices of a tensor: a view, or a copy and its indices."""
    if not pieces:
        return value, None
    first = pieces[0]
    if len(pieces) == 1:
        return value.narrow(first.dim, first.start, first.stop - first.start), None
    rows = torch.cat([torch.arange(piece.start, piece.stop, device=value.device) for piece in pieces])
    return value.index_select(first.dim, rows), rows


def stack(chosen: Tensor, value: Tensor, layout: Layout, pieces: Sequence[Slice] = (), *, by_group: bool = True) -> Tensor:
    """A view of the matrices side by side in the chosen indices, with dimensions in the order of `stacked_shape`.

    Args:
        chosen: What `choose` returned.
        value: The whole parameter.
        layout: How it holds matrices.
        pieces: The chosen indices.
        by_group: Whether the groups of a convolution are matrices of their own, or one, [out, in / groups, *kernel].
    """
    count = layout.chunks
    if not by_group and layout.kernel and layout.outputs == (0,):
        count = 1
    elif pieces and not pieces[0].dim:
        count = max(1, chosen.shape[0] * count // value.shape[0])
    own = (*layout.outputs, *layout.inputs, *layout.kernel)
    order = (*(dim for dim in range(value.ndim) if dim not in own), *own)
    if count == 1 or chosen.shape[0] % count:
        return chosen.permute(order)
    return chosen.unflatten(0, (count, -1)).permute(0, *(dim + 1 for dim in order))


def stacked_shape(view: Tensor, layout: Layout) -> tuple[int, ...]:
    """The shape (matrices, out, in, *kernel) of a view from `stack`."""
    sizes = list(view.shape)
    kernel = [sizes.pop() for _ in layout.kernel][::-1]
    inputs = prod(sizes.pop() for _ in layout.inputs)
    outputs = prod(sizes.pop() for _ in layout.outputs)
    return (prod(sizes), outputs, inputs, *kernel)
