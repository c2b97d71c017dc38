"""The value at which a scale or a shift does nothing."""

from __future__ import annotations

from ..graph.addition import addends
from ..graph.dataflow import Flow, Use
from ..graph.operators import REARRANGEMENTS, SUMS


def neutral(flow: Flow, use: Use) -> float | None:
    """The value at which a parameter that scales or shifts changes nothing; None where that is not known.

    It is 1 for a scale and 0 for a shift, but 0 for the scale of a normalization that multiplies by 1 + w, or whose output is
    added to its input: ``x + w * norm(x)``, as the global response normalization of ConvNeXt V2 (Woo et al. 2023).
    """
    node, value = use.node, use.operand
    argument = next((key for key, given in node.arguments.items() if given is value), "")
    is_shift = argument == "bias" or (node.op in SUMS and not argument.startswith("tensor"))
    result = 0.0 if is_shift or _is_added_to_its_input(flow, use) else 1.0
    while value.op != "parameter":
        number = value.arguments.get("other")
        if value.op == "add" and isinstance(number, (int, float)):
            result -= number
        elif value.op == "mul" and isinstance(number, (int, float)) and number:
            result /= number
        elif value.op not in REARRANGEMENTS:
            return None
        value = value.inputs[0]
    return result


def _is_added_to_its_input(flow: Flow, use: Use) -> bool:
    """Whether a product with a parameter is added to a value that it is made of, with no layer in between."""
    node, layers = use.node, flow.ancestors[use.node.index] & flow.at_maps
    while node.op in SUMS | {"mul"} and len(readers := flow.readers(node)) == 1:
        others = [n for n in addends(readers[0]) if n is not node and flow.active[n.index]]
        if others:
            return any(flow.depends(node, n) and flow.ancestors[n.index] & flow.at_maps == layers for n in others)
        node = readers[0]
    return False
