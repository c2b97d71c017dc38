"""Which weights make the queries, keys, values and the output of one attention, and the size of its heads."""

from __future__ import annotations

from dataclasses import dataclass

from ..graph.dataflow import Flow
from ..graph.node import Node, reach
from ..graph.operators import LOOKUPS
from ..graph.traversal import walk_back
from .attention import Attention


@dataclass(frozen=True)
class Heads:
    """The weights of one attention; a matrix that holds several has the same name in each.

    Attributes:
        query: Name of the parameter that makes the queries.
        key: The same for the keys.
        value: The same for the values.
        output: Name of the first weight that the attended values go through.
        size: Components of one head's query.
        is_cross: Whether the queries come from another sequence than the keys, as in a decoder that attends to an encoder.
    """

    query: str
    key: str
    value: str
    output: str
    size: int
    is_cross: bool = False


def find_heads(flow: Flow, attention: Attention, stop: frozenset[int]) -> Heads | None:
    """The weights of an attention; None where one of the four operands is not made by exactly one weight.

    Args:
        flow: The graph.
        attention: One attention.
        stop: Nodes beyond which a weight makes no operand of the attention: the residual sums.
    """
    makers: dict[str, set[str]] = {"output": _readers(flow, attention.products)}
    for part, operand in attention.operands:
        makers.setdefault(part, set()).update(use.parameter for use in walk_back(flow, operand, stop).maps)
    if any(len(makers.get(part, ())) != 1 for part in ("query", "key", "value", "output")):
        return None
    operands = dict(attention.operands)
    query, key, value, output = (makers[part].pop() for part in ("query", "key", "value", "output"))
    own = flow.ancestors[operands["query"].index] & ~flow.ancestors[operands["key"].index]
    is_cross = any(own >> source.index & 1 for source in _sources(flow))
    return Heads(query, key, value, output, operands["query"].shape[-1], is_cross)


def _sources(flow: Flow) -> list[Node]:
    """Where values come from: inputs, and what is looked up."""
    inputs = [node for node in flow.nodes if node.op == "input"]
    return inputs + [use.node for use in flow.uses if use.role == "embedding" and use.node.op in LOOKUPS]


def _readers(flow: Flow, products: set[int]) -> set[str]:
    """The first weights that values go through after some nodes."""

    def after(node: Node) -> list[Node]:
        is_reader = node.index in flow.maps_at and node.index not in products
        return [] if is_reader else [user for user in node.users if node in flow.values(user)]

    reached = {node.index for node in reach([flow.nodes[index] for index in products], after)} - products
    return {use.parameter for index in reached for use in flow.maps_at.get(index, ())}
