"""Matrices that the network makes and multiplies values with: T-Nets, hypernetworks, dynamic filters."""

from __future__ import annotations

from math import prod

from ..graph.dataflow import Flow, Use
from ..graph.node import Node
from ..graph.operators import NORMS, PRODUCTS
from ..graph.traversal import walk_back
from .row_labels import labels_at, numbered, output_dims

Dims = list[int]


def note_made_matrices(flow: Flow, attentions: frozenset[int]) -> None:
    """Notes in the flow that a matrix whose entries are outputs of one map is a coefficient of what it is multiplied with.

    The dimension that a product sums over and the one that it keeps both run along the outputs of the map then. Of queries,
    keys and other features one of them numbers positions.

    Args:
        flow: The graph.
        attentions: Products inside attentions, which are left out.
    """
    for node in flow.nodes:
        if node.index not in attentions and (node.op in PRODUCTS or sums_of(node)) and len(flow.operands(node)) == 2:
            made = [factor for factor in flow.operands(node) if _is_made_by_one_map(flow, node, factor)]
            if len(made) == 1:
                flow.coefficients[node.index] = made[0]


def made_fans(flow: Flow) -> dict[Use, int]:
    """The maps that make matrices or kernels which are applied to values, and the largest fan-in of what each makes."""
    fans: dict[Use, int] = {}
    for node in flow.nodes:
        factor, kernel = flow.coefficients.get(node.index), node.arguments.get("weight")
        if factor is not None and (node.op in PRODUCTS or sums_of(node)) and _is_made_by_one_map(flow, node, factor):
            fan = prod(factor.shape[dim] for dim in _matrix_dims(node, factor)[0])
        elif isinstance(kernel, Node) and flow.active[kernel.index] and node.index not in flow.maps_at and node.op not in NORMS:
            factor, fan = kernel, prod(kernel.shape) // kernel.shape["transpose" in node.op]
        else:
            continue
        if len(maps := walk_back(flow, factor).maps) == 1:
            fans[maps[0]] = max(fan, fans.get(maps[0], 1))
    return fans


def sums_of(node: Node) -> list[Node]:
    """The sums over dimensions of products of elements, by which a network may write a product of matrices."""
    return [user for user in node.users if user.op == "sum" and user.arguments.get("dim")] if node.op == "mul" else []


def _is_made_by_one_map(flow: Flow, node: Node, factor: Node) -> bool:
    """Whether both dimensions of a factor of a product run along the outputs of a single map that it is made by."""
    if len(maps := walk_back(flow, factor).maps) != 1:
        return False
    use = maps[0]
    try:
        of_weight, of_output = output_dims(use)
        labels = labels_at(factor, use.node, numbered(use.node.shape, of_output, use.operand.shape[of_weight]))
    except LookupError:
        return False
    if labels is None:
        return False
    least = labels.where(labels != 0, labels.max())  # zeros are padding
    varying = {dim for dim in range(labels.ndim) if bool((labels.amax(dim) > least.amin(dim)).any())}
    return all(varying.intersection(dims) for dims in _matrix_dims(node, factor))


def _matrix_dims(node: Node, factor: Node) -> tuple[Dims, Dims]:
    """The dimensions of a factor that a product sums over, and those that the other factor does not have."""
    rank = len(factor.shape)
    if node.op == "einsum":
        terms, _, result = node.arguments["equation"].replace(" ", "").partition("->")
        letters = dict(zip(node.arguments["tensors"], terms.split(","), strict=True))
        own, others = letters[factor], "".join(term for tensor, term in letters.items() if tensor is not factor)
        numbers = range(len(own)) if "." not in own else ()
        return [i for i in numbers if own[i] not in result], [i for i in numbers if own[i] not in others]
    if node.op == "mul":
        other = next(n for n in node.inputs if n is not factor)
        sizes = (1,) * (rank - len(other.shape)) + other.shape[-rank:]
        summed = [dim % len(node.shape) - len(node.shape) + rank for dim in sums_of(node)[0].arguments["dim"]]
        return summed, [dim for dim in range(rank) if sizes[dim] == 1]
    is_first = factor is next(iter(node.inputs))
    return ([rank - 1], [rank - 2]) if is_first else ([rank - 2], [rank - 1])
