"""Weights that a layer computes from its parameters before it uses them, e.g. weight normalization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ..graph.dataflow import Flow, Use
from ..graph.evaluate import evaluate
from ..graph.node import Graph, Node, unmoved
from ..graph.roles import without_noise


@dataclass(frozen=True)
class Computed:
    """How a weight is computed.

    Attributes:
        graph: What computes it.
        magnitudes: The other parameters that it is computed from, smaller ones: the lengths of its rows, say.
    """

    graph: Graph
    magnitudes: tuple[str, ...]

    def __call__(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """The weight that acts, for values of the parameters by name."""
        result: Tensor = evaluate(self.graph, (), parameters=parameters)
        return result


def find_computed(flow: Flow, use: Use) -> Computed | None:
    """How the weight of a linear map is computed; None where it is the parameter itself, a view of it, or it with noise."""
    plain = unmoved(without_noise(use.operand))
    if plain.op == "parameter" or flow.active[plain.index]:  # a kernel that depends on the input has no one value
        return None
    needed, queue = {use.operand.index: use.operand}, [use.operand]
    while queue:
        for node in queue.pop().inputs:
            if node.index not in needed:
                needed[node.index] = node
                queue.append(node)
    learned = [node for node in needed.values() if node.op == "parameter"]
    own = next(node for node in learned if node.name == use.parameter)
    smaller = (node.name for node in learned if node.value.numel() < own.value.numel())
    end = Node(len(flow.nodes), "output", {"values": use.operand}, (use.operand,))
    return Computed(Graph([*(needed[index] for index in sorted(needed)), end], set()), tuple(smaller))
