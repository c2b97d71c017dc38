"""LSUV: layer-sequential unit variance, measured on data."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from ..graph.capture import capture
from ..graph.dataflow import Flow, Use
from ..graph.evaluate import evaluate
from ..graph.node import Node
from ..graph.operators import REARRANGEMENTS, RECURRENT
from ..graph.probe import call_arguments
from ..network import Network
from . import INITIALIZERS, Method
from ._default_rules import fill_rest


@INITIALIZERS.register(
    "lsuv",
    Method(
        paper="Mishkin & Matas 2016, arXiv 1511.06422",
        needs=("inputs",),
        pitfalls=("NumPy's global random state is used, so that a seed of torch does not repeat the result.",),
    ),
)
def lsuv(net: Network) -> None:
    """LSUV: orthonormal weights, each divided by the standard deviation of what it makes of the example inputs.

    The weights follow one another in the order of execution, each after those before it are scaled. As biases are 0, one
    pass is exact where the authors' code iterates until the variance is near 1. A weight that several layers share is
    scaled for the first of them. Recurrent layers, and weights that are computed from parameters, stay orthonormal.

    Raises:
        UsageError: If the network's operators cannot be run one by one.
    """
    assert net.example_inputs is not None
    graph = capture(net.model, net.example_inputs)
    inputs, flow = tree_leaves(call_arguments(net.model, net.example_inputs)), Flow(graph)
    with torch.no_grad():
        evaluate(graph, inputs)  # fails now if ever, before anything is changed
    for weight in net.weights():
        net.fill(weight, "orthonormal", lambda w: nn.init.orthogonal_(w, generator=net.generator))
    fill_rest(net)
    # In another memory format a convolution is rounded otherwise on some processors: such weights get contiguous copies.
    copies = {id(p): p.detach().contiguous() for p in net.model.parameters() if not p.is_contiguous()}
    contiguous = {name: copies[id(p)] for name, p in net.model.named_parameters(remove_duplicate=False) if id(p) in copies}
    todo = {weight.name for weight in net.weights()} - net.kept.keys()

    def scale(node: Node, value: Any) -> Any:
        uses = [use for use in flow.maps_at.get(node.index, ()) if use.parameter in todo]
        todo.difference_update(use.parameter for use in uses)
        if len(uses) != 1 or not _is_plain(uses[0]):
            return value
        deviation = value.double().std().item()
        if not deviation > 0:  # of a single value, or of zeros
            return value
        net.model.get_parameter(uses[0].parameter).div_(deviation)
        if uses[0].parameter in contiguous:
            contiguous[uses[0].parameter].div_(deviation)
        net.note(uses[0].parameter, f"divided by its output's standard deviation, {deviation:.3g}")
        return value / deviation

    with torch.no_grad():
        evaluate(graph, inputs, scale, contiguous)


def _is_plain(use: Use) -> bool:
    """Whether what a map makes is proportional to its parameter."""
    operand = use.operand
    while operand.op in REARRANGEMENTS:
        operand = operand.inputs[0]
    return operand.op == "parameter" and use.node.op not in RECURRENT
