"""What an operator does with a learned operand: the *role* of a parameter at one place where it works.

A table maps families of operators to a function each; the first family that an operator is in decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from torch import Tensor

from .node import Node, reach, unmoved
from .operators import LOOKUPS, NORMS, PRODUCTS, REARRANGEMENTS, RECURRENT, SUMS

_TOKEN_ARGUMENTS = ("input", "hx", "tensors", "src", "source", "values", "value")
_KERNEL_MAKERS = REARRANGEMENTS | PRODUCTS | {"mul", "div", "sum", "mean"}


def find_role(ancestors: Sequence[int], node: Node, operand: Node) -> str:
    """What an operator does with a learned operand; "" where that is not understood.

    Args:
        ancestors: `Flow.ancestors` of the nodes before it.
        node: The operator.
        operand: One of its inputs.

    Returns:
        ``weight``, ``recurrent``, ``embedding``, ``position``, ``norm``, ``bias``, ``scale`` or ``query``; ``kernel`` where the
        operator works on a kernel that a layer then applies, which is the place where the parameter does its work.
    """
    argument = _argument(node, operand)
    for is_member, role in _FAMILIES:
        if is_member(node, argument):
            return role(ancestors, node, operand, argument)
    return "embedding" if argument in _TOKEN_ARGUMENTS or node.op in REARRANGEMENTS | {"where"} else ""


def makes_kernel(node: Node, through: frozenset[str] = frozenset()) -> bool:
    """Whether a value becomes the weight of a layer, such as a modulated, a mixed or a generated kernel.

    Args:
        node: The value.
        through: Further operators that it may go through on the way.
    """
    makers = _KERNEL_MAKERS | through
    reached = reach([node], lambda made: (user for user in made.users if user.op in makers))
    return any(user.arguments.get("weight") is made and user.op not in NORMS for made in reached for user in made.users)


def _argument(node: Node, operand: Node) -> str:
    items = node.arguments.items()
    return next(key for key, value in items if value is operand or (isinstance(value, (list, tuple)) and operand in value))


def _in_recurrent(_ancestors: Sequence[int], _node: Node, operand: Node, argument: str) -> str:
    return "embedding" if argument == "hx" else "recurrent" if len(operand.shape) > 1 else "bias"


def _in_lookup(ancestors: Sequence[int], node: Node, _operand: Node, _argument: str) -> str:
    return "position" if _counts(ancestors, node.arguments["indices"]) else "embedding"


def _in_product(_ancestors: Sequence[int], node: Node, _operand: Node, argument: str) -> str:
    if makes_kernel(node):
        return "kernel"
    return "bias" if argument == "self" and "mat1" in node.arguments else "weight"


def _in_arithmetic(_ancestors: Sequence[int], node: Node, operand: Node, argument: str) -> str:
    if is_affine(node, operand):
        return "norm"
    if is_modulated(node, operand):
        return "embedding"
    if node.op in SUMS and argument in ("self", "other", "end"):
        return "position" if _is_table(operand) else "bias"
    return "kernel" if len(operand.shape) > 1 and makes_kernel(node) else "scale"


def is_modulated(node: Node, operand: Node) -> bool:
    """Whether a learned value, repeated for each example, is what an operator scales or shifts, as StyleGAN's constant."""
    others = [prod(n.shape) for n in node.inputs if n is not operand]
    learned = (prod(n.shape) for n in reach([operand], lambda n: n.sources) if n.op == "parameter")
    is_repeated = operand.shape == node.shape and max(learned) < prod(node.shape)
    return is_repeated and bool(others) and max(others) < prod(node.shape)


def is_affine(node: Node, operand: Node) -> bool:
    """Whether an operator scales or shifts a normalized value by an operand, as normalizations do that are written by hand."""
    other = next((n for n in node.inputs if n is not operand), operand)
    return node.op in SUMS | {"mul", "div"} and prod(operand.shape) > 1 and _is_normalized(other)


def _is_table(operand: Node) -> bool:
    """Whether an operand is a table, and not a vector that is repeated."""
    if sum(size > 1 for size in operand.shape) < 2:
        return False
    learned = [n for n in reach([operand], lambda n: n.sources) if n.op == "parameter"]
    return any(sum(size > 1 for size in n.shape) > 1 or prod(n.shape) == prod(operand.shape) for n in learned)


def without_noise(node: Node) -> Node:
    """The parameter to which a node adds what another is multiplied with, such as noise: mu of ``mu + sigma * noise``."""
    if node.op not in SUMS or len(node.inputs) != 2:
        return node
    for plain, added in (node.inputs, node.inputs[::-1]):
        if plain.op == "parameter" and added.op == "mul" and not all(map(_is_learned, added.inputs)):
            return plain
    return node


def _is_learned(node: Node) -> bool:
    return any(n.op == "parameter" for n in reach([node], lambda n: n.sources))


def _counts(ancestors: Sequence[int], indices: Node) -> bool:
    """Whether indices are positions, which are counted up, or constants that vary, and not the ids of tokens."""

    def before(node: Node) -> list[Node]:
        moved = [node.arguments["self"]] if node.op in ("gather", "index", "index_select") else node.inputs
        return [n for n in moved if not ancestors[n.index]]

    reached = reach([indices], before)
    return any(n.op in ("arange", "cumsum") or (n.op == "constant" and _varies(n.value)) for n in reached)


def _is_bias_of_experts(node: Node, table: Node) -> bool:
    """Whether rows of a table are added to what matrices make of which there are as many."""
    added_to = (other for user in node.users if user.op in SUMS for other in user.inputs if other is not node)
    makers = (unmoved(read) for other in added_to for read in unmoved(other).inputs)
    return any(n.op == "parameter" and len(n.shape) == 3 and n.shape[0] == table.shape[0] for n in makers)


def _is_normalized(node: Node) -> bool:
    """Whether a value is, up to a learned scale, some x divided by a root mean square or a standard deviation."""
    while node.inputs and (node.op in REARRANGEMENTS or (node.op == "mul" and node.inputs[-1].op == "parameter")):
        node = node.inputs[0]
    if node.op in NORMS:
        return "weight" not in node.arguments or node.arguments["weight"] is None
    if node.op not in ("mul", "div") or len(node.inputs) < 2:
        return False
    near = [node.inputs[1], *node.inputs[1].inputs]
    near += [n for m in near[1:] for n in m.inputs]
    return any(n.op in ("rsqrt", "sqrt", "std", "var", "linalg_vector_norm", "norm") for n in near)


def _varies(constant: Tensor) -> bool:
    return not constant.is_meta and constant.numel() > 1 and bool((constant != constant.flatten()[0]).any())


_Family = Callable[[Node, str], bool]
_Role = Callable[[Sequence[int], Node, Node, str], str]


def _op_in(*families: set[str]) -> _Family:
    operators = frozenset().union(*families)
    return lambda node, _argument: node.op in operators


def _always(role: str) -> _Role:
    return lambda *_: role


# Which operators a family has, and the role of a learned operand in them.
_FAMILIES: tuple[tuple[_Family, _Role], ...] = (
    (_op_in(RECURRENT), _in_recurrent),
    (_op_in(LOOKUPS), _in_lookup),
    (_op_in({"prelu"}), _always("scale")),
    (lambda node, argument: node.op in NORMS and argument in ("weight", "bias"), _always("norm")),
    (lambda _, argument: argument in ("weight", "bias"), lambda _ancestors, _node, _operand, argument: argument),
    (_op_in(PRODUCTS), _in_product),
    (_op_in(SUMS, {"mul", "div"}), _in_arithmetic),
    (lambda node, argument: node.op == "scaled_dot_product_attention" and argument == "attn_mask", _always("position")),
    (_op_in({"scaled_dot_product_attention"}), _always("query")),
    (
        lambda node, _: node.op in ("index", "index_select"),
        lambda _ancestors, node, operand, _argument: "bias" if _is_bias_of_experts(node, operand) else "embedding",
    ),
)
