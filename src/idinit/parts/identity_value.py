"""The value at which a scale or a shift does nothing."""

from __future__ import annotations

from ..graph.dataflow import Use
from ..graph.operators import REARRANGEMENTS, SUMS


def neutral(use: Use) -> float | None:
    """The value at which a parameter that scales or shifts changes nothing; None where that is not known.

    It is 1 for a scale and 0 for a shift, but 0 for the scale of a normalization that multiplies by 1 + w.
    """
    node, value = use.node, use.operand
    argument = next((key for key, given in node.arguments.items() if given is value), "")
    is_shift = argument == "bias" or (node.op in SUMS and not argument.startswith("tensor"))
    result = 0.0 if is_shift else 1.0
    while value.op != "parameter":
        number = value.arguments.get("other")
        if value.op == "add" and isinstance(number, (int, float)):
            result -= number
        elif value.op not in REARRANGEMENTS:
            return None
        value = value.inputs[0]
    return result
