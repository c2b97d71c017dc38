"""The value at which a scale or a shift does nothing."""

from __future__ import annotations

from ..graph.addition import addends
from ..graph.dataflow import Flow, Use
from ..graph.node import Node, reach
from ..graph.operators import REARRANGEMENTS, SUMS


def neutral(flow: Flow, use: Use) -> float | None:
    """The value at which a parameter that scales or shifts changes nothing; None where that is not known.

    It is 1 for a scale and 0 for a shift, but 0 for the scale of a normalization that multiplies by 1 + w, or whose output is
    added to its input: ``x + w * norm(x)``, as the global response normalization of ConvNeXt V2 (Woo et al. 2023).
    """
    node, value = _place(use)
    argument = next((key for key, given in node.arguments.items() if given is value), "")
    is_shift = argument == "bias" or (node.op in SUMS and not argument.startswith("tensor"))
    result = 0.0 if is_shift or _is_added_to_its_input(flow, node) else 1.0
    while value.op != "parameter":
        number = _number(value)
        if value.op == "add" and number is not None:
            result -= number
        elif value.op == "mul" and number:
            result /= number
        elif value.op not in REARRANGEMENTS:
            return None
        value = value.inputs[0]
    return result


def _place(use: Use) -> tuple[Node, Node]:
    """The operator that scales or shifts by a parameter, and its operand: before the use, in a norm of learned tokens."""
    if use.role == "norm" and _source(use.operand).op != "parameter":
        for node in reach([use.operand], lambda n: n.inputs):
            given = next((n for n in node.inputs if _source(n).name == use.parameter), None)
            if given is not None and len(node.inputs) > 1:
                return node, given
    return use.node, use.operand


def _source(value: Node) -> Node:
    """What a value is rearranged from, or made of with numbers."""
    while value.op in REARRANGEMENTS or value.op in ("add", "mul") and _number(value) is not None:
        value = value.inputs[0]
    return value


def _number(node: Node) -> float | None:
    """The number that an operator adds or multiplies with."""
    number = node.arguments.get("other")
    return number if isinstance(number, (int, float)) else None


def _is_added_to_its_input(flow: Flow, node: Node) -> bool:
    """Whether a product with a parameter is added to a value that it is made of, with no layer in between."""
    layers = flow.ancestors[node.index] & flow.at_maps
    while node.op in SUMS | {"mul"} and len(readers := flow.readers(node)) == 1:
        others = [n for n in addends(readers[0]) if n is not node and flow.active[n.index]]
        if others:
            return any(flow.depends(node, n) and flow.ancestors[n.index] & flow.at_maps == layers for n in others)
        node = readers[0]
    return False
