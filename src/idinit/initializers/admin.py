"""Admin: post-norm transformers, by weighing the skip path up with the size of what was added before."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from ..graph.evaluate import evaluate
from ..graph.node import Node
from ..graph.probe import call_arguments
from ..network import Network
from ..parts.classify import analyze
from . import INITIALIZERS, Method
from ._default_rules import fill_rest
from ._layers import decoder_branches
from .xavier import fill_xavier


@INITIALIZERS.register("admin", Method(paper="Liu et al. 2020, arXiv 2004.08249", needs=("branches", "sum_norm", "inputs")))
def admin(net: Network) -> None:
    """Admin: norm(omega x + f(x)), where omega grows with the variance of the branches before, measured on example inputs.

    The first omega of the encoder and of the decoder is 1, the next sqrt(omega^2 Var x + Var f(x)), as the authors' code
    profiles them. Weights are Xavier, queries, keys and values with a gain of 1/sqrt(2), as the code it is built on has them.

    The norm does not see a common factor of its input: instead of x times omega, the branch is multiplied with 1/omega,
    which leaves the model's code as it is. It is one learnable number, where the publication has one for each component.

    Raises:
        UsageError: If a branch has no module of its own on which a multiplier could act, or the network's operators cannot
            be run one by one.
    """
    assert net.example_inputs is not None
    places, of_decoder = net.branch_places(), {branch.end for branch in decoder_branches(net.structure)}
    analysis = analyze(net.model, net.example_inputs)
    graph = analysis.graph
    inputs = tree_leaves(call_arguments(net.model, net.example_inputs))
    with torch.no_grad():
        evaluate(graph, inputs)  # fails now if ever, before anything is changed
    for weight in net.weights():
        fill_xavier(net, weight, 2**-0.5 if weight.part in ("query", "key", "value") else 1.0)
    fill_rest(net)

    skips: dict[int, int] = {}
    branches: dict[int, list[tuple[int, str]]] = {}  # of each sum, what it adds to the skip path and where that ends
    for side in analysis.sides:
        if side.kind == "branch" and side.shortcut and (own := analysis.own(side)):
            skips[side.sum.index] = side.shortcut.operand.index
            branches.setdefault(side.sum.index, []).append((side.operand.index, own[-1].parameter))
    added = {index: torch.empty(0) for sides in branches.values() for index, _ in sides}
    variances = dict.fromkeys(skips.values(), 0.0)
    streams, omegas = {False: 1.0, True: 1.0}, {}

    def weigh(node: Node, value: Any) -> Any:
        if node.index in added:
            added[node.index] = value.clone()  # the sum may be written into it
        if node.index in variances:
            variances[node.index] = value.double().var().item()
        if node.index not in branches:
            return value
        ends = {end for _, end in branches[node.index]}
        is_decoders = not of_decoder.isdisjoint(ends)
        omega = streams[is_decoders]
        omegas.update(dict.fromkeys(ends, omega))
        total = torch.stack([added[index] for index, _ in branches[node.index]]).sum(0)
        streams[is_decoders] = (omega**2 * variances[skips[node.index]] + total.double().var().item()) ** 0.5
        return value + total * (1 / omega - 1)

    with torch.no_grad():
        evaluate(graph, inputs, weigh)
    for branch, place in places.items():
        net.add_scalar("output_scale", 1 / omegas[branch.end], branch.end, at=place)
