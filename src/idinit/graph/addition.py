"""What counts as an addition: the operators that add values element by element, however a network writes them."""

from __future__ import annotations

from .node import Node
from .operators import SAME

# The arguments that are added up; the other arguments of these operators only say how.
_ADDENDS = {
    "add": ("self", "other"),
    "sub": ("self", "other"),
    "lerp": ("self", "end"),
    "index_add": ("self", "source"),
    "scatter_add": ("self", "src"),
    "scatter_reduce": ("self", "src"),
}


def addends(node: Node) -> list[Node]:
    """The values that an operator adds up element by element; empty for every other operator.

    Found are ``add`` and ``sub``, ``lerp``, ``index_add``, ``scatter_add``, an accumulating ``index_put``, and the sum or mean
    over the new dimension of a ``stack``, by ``sum``, ``mean`` or ``einsum``. The recorder has taken products that add to
    something (``addmm``, ``baddbmm``, ``addcmul``) apart into a product and an ``add``.
    """
    arguments = node.arguments
    if node.op in _ADDENDS:
        found = [arguments.get(name) for name in _ADDENDS[node.op]]
    elif node.op == "index_put" and arguments.get("accumulate"):
        found = [arguments["self"], arguments["values"]]
    elif (stack := _summed_stack(node)) is not None:
        found = list(stack.arguments["tensors"])
    else:
        found = []
    return [value for value in found if isinstance(value, Node)]


def _summed_stack(node: Node) -> Node | None:
    """The ``stack`` over whose new dimension an operator sums."""
    if node.op in ("sum", "mean"):
        stack, dims = _source(node.arguments.get("self")), node.arguments.get("dim")
        dims = [dims] if isinstance(dims, int) else dims
        if stack is None or not dims or len(dims) != 1:
            return None
        rank = len(stack.shape)
        return stack if dims[0] % rank == stack.arguments.get("dim", 0) % rank else None
    if node.op == "einsum":
        return _summed_by_letters(node)
    return None


def _summed_by_letters(node: Node) -> Node | None:
    """The ``stack`` in an Einstein sum over the letter of its new dimension that no other factor has."""
    terms, _, result = node.arguments["equation"].replace(" ", "").partition("->")
    factors = list(zip(terms.split(","), node.arguments["tensors"], strict=True))
    if len(factors) != 1:
        return None
    letters, stack = factors[0][0], _source(factors[0][1])
    if stack is None or "." in letters:
        return None
    return stack if letters[stack.arguments.get("dim", 0)] not in result else None


def _source(node: object) -> Node | None:
    """The ``stack`` that a value is, if it is one that nothing else reads."""
    while isinstance(node, Node) and node.op in SAME:
        node = node.inputs[0]
    return node if isinstance(node, Node) and node.op == "stack" and len(node.users) == 1 else None
