"""Step functions of values, such as the spikes of a spiking network: a surrogate gradient flows through them."""

from __future__ import annotations

from collections.abc import Iterator

from .node import Node, reach
from .operators import NORMS, POOLS, PRODUCTS, REARRANGEMENTS, SAME, SUMS

_COMPARISONS = {"gt", "ge", "lt", "le"}
_CHOICES = {"where", "masked_fill"}
_MOVES = (REARRANGEMENTS - {"detach"}) | NORMS | POOLS | SUMS | {"mul", "div", "sum", "cat", "stack"}


def find_steps(nodes: list[Node]) -> frozenset[int]:
    """The comparisons that are activation functions, and the numbers that these are turned into, by their index.

    A step function compares a value with a threshold, and a layer reads the number that this becomes, by itself or in a sum. A
    comparison that multiplies or chooses values is a condition, such as a mask. So is one that is put out beside
    the value that it judges; the output may be a step where the value reaches it in no other way.

    Args:
        nodes: The values of a forward pass.
    """
    comparisons = [node for node in nodes if node.op in _COMPARISONS and node.inputs[0].is_float]
    if not comparisons:
        return frozenset()
    walk = _Walk(nodes)
    found = set()
    for node in comparisons:
        compared = [n for n in node.inputs if n.index in walk.fed]
        for number in walk.numbers_of(node) if len(compared) == 1 else ():
            ends = set(walk.ends_of(number))
            if "layer" in ends or (ends and not any(walk.ends_of(compared[0]))):
                found |= {node.index, number.index}
    return frozenset(found)


class _Walk:
    """Ways through a graph; ``fed`` holds the indices of the values that depend on its input."""

    def __init__(self, nodes: list[Node]) -> None:
        self.fed: set[int] = set()
        for node in nodes:
            if node.op == "input" or any(n.index in self.fed for n in node.sources):
                self.fed.add(node.index)

    def numbers_of(self, comparison: Node) -> Iterator[Node]:
        """What a comparison becomes as a number, with no other value in it."""
        for user in comparison.users:
            is_cast = user.op in SAME or (user.op in _CHOICES | {"mul"} and self._is_alone(comparison, user))
            if is_cast and user.is_float:
                yield user

    def ends_of(self, value: Node) -> Iterator[str]:
        """Where a value leads to that is only scaled, moved and added to others: ``layer``, ``output``."""
        for node in reach([value], lambda n: [user for user in n.users if self._passes_on(n, user)]):
            for user in node.users:
                if user.op == "output":
                    yield "output"
                elif self._is_layer(node, user):
                    yield "layer"

    def _passes_on(self, node: Node, user: Node) -> bool:
        return user.op in _MOVES and (user.op not in ("mul", "div") or self._is_alone(node, user))

    def _is_alone(self, node: Node, user: Node) -> bool:
        return not any(n.index in self.fed for n in user.inputs if n is not node)

    def _is_layer(self, node: Node, user: Node) -> bool:
        """Whether an operator multiplies a value with a matrix that does not depend on the input."""
        is_map = user.op in PRODUCTS or ("weight" in user.arguments and user.op not in NORMS)
        return is_map and self._is_alone(node, user)
