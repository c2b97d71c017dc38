"""Requirements of initializers, checked before they change a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ..graph.capture import capture
from ..graph.dataflow import Flow
from ..graph.traversal import walk_back
from .network import Network

Need = Literal["branches", "attention", "no_norm", "end_norm", "sum_norm", "inputs", "sine"]


def _lacks_branches(net: Network) -> str:
    if net.branches:
        return ""
    return (
        "needs residual branches, and the network has none (a skip around all of it makes none): "
        "use a network with shortcuts, or 'kaiming'"
    )


def _lacks_attention(net: Network) -> str:
    if net.structure.heads:
        return ""
    return (
        "needs attention with one weight each for queries, keys, values and output, and the network has none: "
        "use a transformer, or 'idinit'"
    )


def _has_norm(net: Network) -> str:
    norm = next((name for name, part in net.structure.parts.items() if part == "norm"), None)
    if norm is None:
        return ""
    return f"replaces normalization, and the network has it ('{norm}'): use a network without normalization, or 'rezero'"


def _lacks_end_norm(net: Network) -> str:
    for branch in net.branches:
        if f"{branch.end_norm}.weight" not in net.structure.parts:
            return (
                f"needs a normalization at the end of every residual branch, and none follows '{branch.end}': "
                "use a network with normalization there, or 'skipinit'"
            )
    return ""


def _lacks_sum_norm(net: Network) -> str:
    for branch in net.branches:
        if branch.sum_norm is None:
            return (
                f"needs a normalization right after every residual sum, and none follows that of '{branch.end}': "
                "use a transformer with the norm after the sum (post-norm), or 'idinit'"
            )
    return ""


def _lacks_sines(net: Network) -> str:
    """Sines of what no layer has made, such as those of positions or time steps, encode inputs and are no activations."""
    if problem := _lacks_inputs(net):
        return problem
    flow = Flow(capture(net.model, net.example_inputs or ()))
    hidden = {use.parameter for use in flow.maps if flow.followed >> use.node.index & 1}
    sines = [walk_back(flow, node.inputs[0]) for node in flow.nodes if node.op == "sin" and flow.active[node.index]]
    activated = {use.parameter for walk in sines for use in walk.maps}
    if activated and 2 * len(activated & hidden) >= len(hidden):
        return ""
    count = f"after {len(activated & hidden)} of {len(hidden)} hidden layers" if activated else "after none of its layers"
    return f"needs sines as activations, and the network computes them {count}: use 'kaiming'"


def _lacks_inputs(net: Network) -> str:
    return "measures activations of the network: give example_inputs=(x,)" if net.example_inputs is None else ""


# Each returns what is missing and the remedy, or "".
REQUIREMENTS: dict[Need, Callable[[Network], str]] = {
    "branches": _lacks_branches,
    "attention": _lacks_attention,
    "no_norm": _has_norm,
    "end_norm": _lacks_end_norm,
    "sum_norm": _lacks_sum_norm,
    "inputs": _lacks_inputs,
    "sine": _lacks_sines,
}
