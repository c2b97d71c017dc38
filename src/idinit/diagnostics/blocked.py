"""Finds zero factors that block each other's gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..graph.dataflow import Flow, Use
from ..graph.evaluate import evaluate
from ..graph.node import Graph, Node, reach
from ..graph.operators import LOOKUPS, NORMS, PRODUCTS, SUMS
from ..graph.probe import tensors_in


class Zeros:
    """The zero factors of a network, and what is zero because of them.

    Attributes:
        factors: Names of the parameters that multiply and are zero, in the order of the forward pass.

    Args:
        graph: A forward pass.
        flow: The same.
        inputs: The values of its inputs.
        parameters: Values of parameters, by name; the others have their present ones.
    """

    def __init__(self, graph: Graph, flow: Flow, inputs: Sequence[Any], parameters: Mapping[str, Tensor]) -> None:
        self._flow = flow
        self._is_zero: set[int] = set()

        def watch(node: Node, value: Any) -> Any:
            if (found := tensors_in(value)) and not any(bool(tensor.any()) for tensor in found):
                self._is_zero.add(node.index)
            return value

        with torch.no_grad():
            evaluate(graph, inputs, watch, parameters)
        self._uses = [use for use in flow.uses if _multiplies(use) and use.operand.index in self._is_zero]
        self.factors = list(dict.fromkeys(use.parameter for use in self._uses))

    def path(self, parameter: str) -> tuple[str, ...]:
        """A zero factor that receives no gradient, and the zero factors that keep it at zero, in the order of the pass."""
        found: set[int] = set()
        for use in self._uses:
            if use.parameter == parameter:
                found |= {use.node.index} | self._after(use.node) | self._before(use)
        names = (use.parameter for use in self._uses if use.node.index in found)
        return tuple(dict.fromkeys(names))

    def _after(self, node: Node) -> set[int]:
        """Operators with zero factors at which every gradient for a node ends; none where one arrives."""
        found: set[int] = set()
        seen, queue = {node.index}, [node]
        while queue:
            node = queue.pop()
            for user in node.users:
                if user.op == "output":
                    return set()
                if user.index in seen or not self._flow.active[user.index]:
                    continue
                seen.add(user.index)
                others = [n for n in user.inputs if n is not node and n.index in self._is_zero]
                if not others or not _is_product(user):
                    queue.append(user)
                    continue
                for other in others:
                    found |= self._makers(user, other)
        return found

    def _before(self, use: Use) -> set[int]:
        """Operators with zero factors that make what a factor multiplies zero."""
        found: set[int] = set()
        for node in use.node.inputs:
            if node is not use.operand and self._flow.active[node.index] and node.index in self._is_zero:
                found |= self._makers(use.node, node)
        return found

    def _makers(self, reader: Node, node: Node) -> set[int]:
        """Operators whose zero factors make a node zero: the reader where the node is such a factor."""
        if not self._flow.active[node.index]:
            return {reader.index} if any(u.node is reader and u.operand is node for u in self._uses) else set()
        made_by = {use.node.index for use in self._uses}

        def before(node: Node) -> list[Node]:
            zeros = [n for n in node.inputs if self._flow.active[n.index] and n.index in self._is_zero]
            return [] if node.index in made_by else zeros

        return {n.index for n in reach([node], before) if n.index in made_by}


def _multiplies(use: Use) -> bool:
    """Whether a parameter is a factor of what flows on, and not added to it."""
    arguments = use.node.arguments
    argument = next((key for key, given in arguments.items() if given is use.operand), "")
    is_added = argument == "bias" or use.node.op in SUMS and not argument.startswith("tensor")
    is_factor = use.role in ("weight", "recurrent", "scale", "norm", "query") or use.node.op in LOOKUPS
    return is_factor and not is_added


def _is_product(node: Node) -> bool:
    return node.op in PRODUCTS | NORMS | {"mul"} or "weight" in node.arguments
