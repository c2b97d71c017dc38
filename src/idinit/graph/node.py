"""The values of a forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from .operators import LIKE_ANOTHER, REARRANGEMENTS, SHAPE_ONLY


@dataclass(eq=False)
class Node:
    """One value of the forward pass.

    Attributes:
        index: Position in the order of execution.
        op: Operator without namespace, overload and in-place underscore, e.g. ``conv2d``; or ``parameter``, ``constant``
            (buffers and other tensors), ``input``, ``write`` (a tensor after a part of it was written to), ``output``.
        arguments: Arguments by the names of the operator's schema; values that are tensors of the graph are nodes.
        inputs: The nodes among the arguments, in order.
        name: Name of the parameter.
        value: The tensor of a parameter or constant; for others, one with their shape and dtype. None where it is not a tensor.
        call: The operator itself; it takes ``arguments`` as keyword arguments.
        scope: The module calls around it, outermost first: (unique key of the call, dotted name of the module).
        users: The nodes that read it.
    """

    index: int
    op: str
    arguments: dict[str, Any] = field(repr=False)  # of nodes of nodes: printed, they would never end
    inputs: tuple[Node, ...] = field(default=(), repr=False)
    name: str = ""
    value: Any = None
    call: Any = None
    scope: tuple[tuple[str, str], ...] = ()
    users: list[Node] = field(default_factory=list, repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape; () where the value is not a tensor."""
        return tuple(self.value.shape) if isinstance(self.value, Tensor) else ()

    @property
    def sources(self) -> tuple[Node, ...]:
        """The inputs whose values the value depends on: not those of which only the shape or the type matters."""
        return () if self.op in SHAPE_ONLY else self.inputs[:1] if self.op in LIKE_ANOTHER else self.inputs

    @property
    def is_float(self) -> bool:
        """Whether the value, or any of its items, can carry a gradient."""
        items = self.value if isinstance(self.value, (list, tuple)) else (self.value,)
        return any(isinstance(v, Tensor) and (v.is_floating_point() or v.is_complex()) for v in items)


@dataclass(frozen=True)
class Graph:
    """One forward pass.

    Attributes:
        nodes: The values, in the order of execution; the last one is the ``output``.
        hookable: Dotted names of the modules that return one tensor, so that a forward hook can act on it.
    """

    nodes: list[Node]
    hookable: set[str]


def reach(start: Iterable[Node], following: Callable[[Node], Iterable[Node]]) -> Iterator[Node]:
    """Yields nodes, those that follow them, and so on, each of them once and depth first."""
    seen, queue = set(), list(start)
    while queue:
        node = queue.pop()
        if node.index not in seen:
            seen.add(node.index)
            yield node
            queue += following(node)


def unmoved(node: Node) -> Node:
    """What a node is a rearrangement of, or the node."""
    while node.op in REARRANGEMENTS and node.inputs:
        node = node.inputs[0]
    return node
