"""How values flow through a graph: what each operator does with its operands, and what depends on what.

Sets of nodes are Python integers with a bit for each node: unions over a graph of thousands of nodes are then cheap.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from torch import Tensor

from .node import Graph, Node
from .operators import GATE_RANK, LOOKUPS, NORMS, PRODUCTS, REARRANGEMENTS, RECURRENT, SHAPE_ONLY, SUMS


@dataclass(frozen=True)
class Use:
    """A parameter at work.

    Attributes:
        node: The operator that uses it.
        parameter: Its name.
        role: ``weight`` (of a linear map), ``recurrent``, ``embedding``, ``position``, ``norm``, ``bias``, ``scale``,
            ``query``; "" where what the operator does with it is not understood.
        operand: The argument of the operator: the parameter itself, or what is computed from it.
    """

    node: Node
    parameter: str
    role: str
    operand: Node


class Flow:
    """What depends on what in a graph.

    Attributes:
        nodes: The graph's values, in the order of execution.
        hookable: Names of the modules that return one tensor.
        active: For each node, whether its value depends on the input, or is what a map makes of constants.
        ancestors: For each node, the set of active nodes its value is differentiably computed from, itself included.
        uses: Every use of a parameter by an active node, in the order of execution.
        maps: Those of them that are weights of linear maps.
        maps_at: The same by the index of the operator.
        norms: Indices of the normalizations, and of their scales and shifts where they are operators of their own.
        fed: For each node, whether its value depends on the input or on learned tokens, not on constants alone.
        coefficients: Operands that only scale what the others carry, by the index of the operator.
        calls: The calls of each module, by its dotted name.
    """

    def __init__(self, graph: Graph) -> None:
        self.nodes = graph.nodes
        self.hookable = graph.hookable
        self.active: list[bool] = []
        self.ancestors: list[int] = []
        self.fed: list[bool] = []
        self.uses: list[Use] = []
        self.coefficients: dict[int, Node] = {}
        self.calls: dict[str, set[str]] = {}
        self._made_of: list[int] = []  # of nodes that are not active: the parameters they are computed from
        for node in self.nodes:
            self._visit(node)
        self.maps = [use for use in self.uses if use.role in ("weight", "recurrent")]
        self.maps_at: dict[int, list[Use]] = {}
        for use in self.maps:
            self.maps_at.setdefault(use.node.index, []).append(use)
        self.norms = {node.index for node in self.nodes if node.op in NORMS}
        self.norms |= {use.node.index for use in self.uses if use.role == "norm"}

    def depends(self, node: Node, source: Node) -> bool:
        """Whether a value is differentiably computed from another, or is it."""
        is_token = not self.active[source.index] and self.ancestors[node.index] & self._made_of[source.index]
        return bool(is_token or self.ancestors[node.index] >> source.index & 1)

    def origins(self, node: Node) -> int:
        """The ancestors of a value; of a learned token, the parameters it is made of."""
        return self.ancestors[node.index] if self.active[node.index] else self._made_of[node.index]

    def operands(self, node: Node) -> list[Node]:
        """The inputs that depend on the model's input and can carry a gradient."""
        return [n for n in node.inputs if self.active[n.index] and n.is_float]

    def values(self, node: Node) -> list[Node]:
        """The inputs whose values the node passes on: neither coefficients nor masks nor weights."""
        if node.op == "scaled_dot_product_attention":
            return [n for n in [node.arguments["value"]] if self.active[n.index]]
        operands = self.operands(node)
        if "weight" in node.arguments or node.op in RECURRENT | {"grid_sampler", "copy"}:
            return operands[-1:] if node.op == "copy" else operands[:1]
        return [n for n in operands if n is not self.coefficients.get(node.index)]

    def _visit(self, node: Node) -> None:
        learned = [n for n in node.inputs if self._made_of[n.index]]
        is_map = bool(learned) and (node.op in LOOKUPS | RECURRENT or "weight" in node.arguments and node.op not in NORMS)
        depends = node.op not in SHAPE_ONLY and any(self.active[n.index] for n in node.inputs)
        active = (depends or is_map or node.op == "input") and not self._chooses_matrices(node)
        fed = node.op == "input" or depends and any(self.fed[n.index] for n in node.inputs)
        made_of = 1 << node.index if node.op == "parameter" else 0
        ancestors = 0
        for read in node.inputs:
            made_of |= self._made_of[read.index]
            ancestors |= self.ancestors[read.index]
        self.active.append(active)
        self._made_of.append(0 if active else made_of)
        if active and node.op != "output":
            for operand in dict.fromkeys(learned):
                role = self._role(node, operand)
                fed |= role == "embedding"
                if role in ("embedding", "position"):
                    ancestors |= self._made_of[operand.index]
                self.uses += [Use(node, *found, operand) for found in self._split(operand, role)]
            # A mask made of integers is the ancestor of nothing: no gradient flows through it.
            starts = is_map or node.op == "input" or ancestors
            ancestors = ancestors | 1 << node.index if node.is_float and starts else 0
        self.ancestors.append(ancestors if active else 0)
        self.fed.append(fed)
        self._find_coefficient(node)
        for key, path in node.scope:
            self.calls.setdefault(path, set()).add(key)

    def _chooses_matrices(self, node: Node) -> bool:
        """Whether a node picks some of many matrices, such as those of a mixture's experts: these stay parameters."""
        is_choice = node.op in ("index", "index_select") and len(node.inputs[0].shape) > 2
        return is_choice and bool(self._made_of[node.inputs[0].index])

    def _find_coefficient(self, node: Node) -> None:
        if node.op not in ("mul", "div") or len(operands := self.operands(node)) != 2 or operands[0] is operands[1]:
            return
        a, b = operands
        if node.op == "div" or self.depends(b, a):
            self.coefficients[node.index] = b
        elif self.depends(a, b):
            self.coefficients[node.index] = a
        elif prod(a.shape) != prod(b.shape):
            self.coefficients[node.index] = min(a, b, key=lambda n: prod(n.shape))
        elif (rank := self._gate_rank(a, b)) != (other := self._gate_rank(b, a)):
            self.coefficients[node.index] = a if rank > other else b

    def _gate_rank(self, node: Node, factor: Node) -> int:
        while (node.op in REARRANGEMENTS or node.op in ("add", "sub", "rsub", "mul", "div")) and len(self.operands(node)) == 1:
            node = self.operands(node)[0]
        if self.depends(factor, node):  # an activation function that the other factor has gone through as well
            return 0
        is_activation = node.op == "mul" and node.index in self.coefficients  # e.g. x * sigmoid(x)
        return 1 if is_activation else GATE_RANK.get(node.op, 0)

    def _counts(self, indices: Node) -> bool:
        """Whether indices say where something is, and not what it is: they are counted up, or constants that vary."""
        seen, queue = set(), [indices]
        while queue:
            node = queue.pop()
            if node.index in seen:
                continue
            seen.add(node.index)
            if node.op in ("arange", "cumsum") or (node.op == "constant" and _varies(node.value)):
                return True
            moved = [node.arguments["self"]] if node.op in ("gather", "index", "index_select") else node.inputs
            queue += [n for n in moved if not self.ancestors[n.index]]
        return False

    def _role(self, node: Node, operand: Node) -> str:
        """What an operator does with a learned operand."""
        op = node.op
        argument = next(k for k, v in node.arguments.items() if v is operand or isinstance(v, (list, tuple)) and operand in v)
        if op in RECURRENT:
            return "embedding" if argument == "hx" else "recurrent" if len(operand.shape) > 1 else "bias"
        if op in LOOKUPS:
            return "position" if self._counts(node.arguments["indices"]) else "embedding"
        if op == "prelu":
            return "scale"
        if argument in ("weight", "bias"):
            return "norm" if op in NORMS else argument
        if op in PRODUCTS:
            return "bias" if argument == "self" and "mat1" in node.arguments else "weight"
        if op in SUMS or op in ("mul", "div"):
            other = next((n for n in node.inputs if n is not operand), operand)
            if prod(operand.shape) > 1 and _is_normalized(other):
                return "norm"
            if op in SUMS and not argument.startswith("tensor"):  # addcmul multiplies its tensor1 and tensor2
                return "position" if sum(size > 1 for size in operand.shape) > 1 else "bias"
            return "scale"
        if op == "scaled_dot_product_attention":
            return "position" if argument == "attn_mask" else "query"
        if op in ("index", "index_select") and _is_bias_of_experts(node, operand):
            return "bias"
        is_token = argument in ("input", "hx", "tensors", "src", "values", "value") or op in REARRANGEMENTS | {"where"}
        return "embedding" if is_token else ""

    def _split(self, operand: Node, role: str) -> Iterator[tuple[str, str]]:
        """The parameters an operand is computed from, each with its own role.

        The factors of a product are told apart by size: of a weight-normalized weight, the direction keeps the role and
        the magnitude is a scale.
        """
        seen = set()
        queue = [(operand, role)]
        while queue:
            node, role = queue.pop(0)
            if node.index in seen:
                continue
            seen.add(node.index)
            if node.op == "parameter":
                yield node.name, role
            learned = [n for n in node.inputs if self._made_of[n.index]]
            largest = max((prod(n.shape) for n in learned), default=0)
            if node.op in NORMS:
                affine = [n for n in learned if n is not node.inputs[0]]
                queue += [(node.inputs[0], role), *((n, "norm") for n in affine)]
                continue
            is_alike = node.op in SUMS | PRODUCTS | REARRANGEMENTS | {"cat", "stack"}
            queue += [(n, role if is_alike or prod(n.shape) == largest else "scale") for n in learned]


def _is_bias_of_experts(node: Node, table: Node) -> bool:
    """Whether rows of a table are added to what matrices make of which there are as many."""
    added_to = (other for user in node.users if user.op in SUMS for other in user.inputs if other is not node)
    makers = (_unmoved(read) for other in added_to for read in _unmoved(other).inputs)
    return any(n.op == "parameter" and len(n.shape) == 3 and n.shape[0] == table.shape[0] for n in makers)


def _unmoved(node: Node) -> Node:
    """What a node is a rearrangement of."""
    while node.op in REARRANGEMENTS and node.inputs:
        node = node.inputs[0]
    return node


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
