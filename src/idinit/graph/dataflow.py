"""How values flow through a graph: what each operator does with its operands, and what depends on what.

Sets of nodes are Python integers with a bit for each node: unions over a graph of thousands of nodes are then cheap.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from .node import Graph, Node, reach, unmoved
from .operators import (
    GATE_RANK,
    LIKE_ANOTHER,
    LOOKUPS,
    NORMS,
    PRODUCTS,
    REARRANGEMENTS,
    RECURRENT,
    SUMS,
    UPSAMPLINGS,
    ZEROS,
)
from .roles import find_role, is_affine, is_modulated, without_noise
from .steps import find_steps


@dataclass(frozen=True)
class Use:
    """One place where a parameter is used.

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
        steps: Indices of comparisons that act as activation functions, and of the numbers that these are turned into.
        active: For each node, whether its value depends on the input, or is what a map makes of constants.
        ancestors: For each node, the set of active nodes its value is differentiably computed from, itself included.
        uses: Every use of a parameter by an active node, in the order of execution.
        maps: Those of them that are weights of linear maps.
        maps_at: The same by the index of the operator.
        norms: Indices of the normalizations, and of their scales and shifts where they are operators of their own.
        fed: For each node, whether its value depends on the input or on learned tokens, not on constants alone.
        coefficients: Operands that only scale what the others carry, by the index of the operator.
        calls: The calls of each module, by its dotted name.
        at_maps: The set of the operators of ``maps_at``.
        followed: The set of nodes that such an operator is computed from.
        upsamplings: Nodes that make a finer grid of a coarser one.
    """

    def __init__(self, graph: Graph) -> None:
        self.nodes = graph.nodes
        self.hookable = graph.hookable
        self.steps = find_steps(graph.nodes)
        self.active: list[bool] = []
        self.ancestors: list[int] = []
        self.fed: list[bool] = []
        self.uses: list[Use] = []
        self.coefficients: dict[int, Node] = {}
        self.calls: dict[str, set[str]] = {}
        self._made_of: list[int] = []  # of nodes that are not active: the parameters they are computed from
        self._layers: set[int] = set()  # nodes that apply a weight or look something up
        for node in self.nodes:
            self._visit(node)
        self.maps = [use for use in self.uses if use.role in ("weight", "recurrent")]
        self.maps_at: dict[int, list[Use]] = {}
        for use in self.maps:
            self.maps_at.setdefault(use.node.index, []).append(use)
        self._is_live = [False] * len(self.nodes)
        for node in reversed(self.nodes):
            self._is_live[node.index] = node.op == "output" or any(map(self._leads_on, node.users))
        self.at_maps = sum(1 << index for index in self.maps_at)
        self.followed = 0
        for index in self.maps_at:
            self.followed |= self.ancestors[index] & ~(1 << index)
        self.upsamplings = [node for node in self.nodes if node.op.startswith(UPSAMPLINGS) and self.ancestors[node.index]]
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
        return [n for n in node.sources if self.active[n.index] and self.carries(n)]

    def readers(self, node: Node) -> list[Node]:
        """The nodes that are differentiably computed from a value and lead to the output, which is one of them."""
        users = [user for user in node.users if user.op not in LIKE_ANOTHER or user.inputs[0] is node]
        return [user for user in users if self._leads_on(user)]

    def _leads_on(self, node: Node) -> bool:
        """Whether a node leads to the output by ways that carry a gradient, or is it; a zero of a value's shape does not."""
        return self._is_live[node.index] and (self.ancestors[node.index] != 0 or node.op == "output")

    def carries(self, node: Node) -> bool:
        """Whether a value can carry a gradient, or is a step function's, whose gradient a network makes up."""
        return node.op != "detach" and (node.is_float or node.index in self.steps)

    def values(self, node: Node) -> list[Node]:
        """The inputs whose values the node passes on: neither coefficients nor masks nor weights."""
        if node.op == "scaled_dot_product_attention":
            return [n for n in [node.arguments["value"]] if self.active[n.index]]
        operands = self.operands(node)
        if "weight" in node.arguments or node.op in RECURRENT | {"grid_sampler", "copy"}:
            return operands[-1:] if node.op == "copy" else operands[:1]
        return [n for n in operands if n is not self.coefficients.get(node.index)]

    def _visit(self, node: Node) -> None:
        learned = list(dict.fromkeys(n for n in node.inputs if self._made_of[n.index]))
        is_map = bool(learned) and (node.op in LOOKUPS | RECURRENT or "weight" in node.arguments and node.op not in NORMS)
        depends = any(self.active[n.index] for n in node.sources)
        active = (depends or is_map or node.op == "input") and not self._chooses_matrices(node)
        self.active.append(active)
        self._made_of.append(0 if active else self._parameters_of(node))
        roles = [find_role(self.ancestors, node, operand) for operand in learned] if active and node.op != "output" else []
        for operand, role in zip(learned, roles, strict=False):
            if role in ("weight", "recurrent", "embedding"):
                self._layers.add(node.index)
            if role != "kernel":  # it works where a layer applies the kernel
                self.uses += [Use(node, *found, operand) for found in self._split(operand, role)]
        if active and (kernel := self._computed_kernel(node)) is not None:
            self.uses.append(kernel)
            is_map = True
        tokens = [n for n, role in zip(learned, roles, strict=False) if role in ("embedding", "position")]
        self.ancestors.append(self._ancestors_of(node, tokens, is_map) if active else 0)
        looks_up = node.op == "input" or "embedding" in roles
        self.fed.append(looks_up or depends and any(self.fed[n.index] for n in node.inputs))
        self._find_coefficient(node)
        for key, path in node.scope:
            self.calls.setdefault(path, set()).add(key)

    def _parameters_of(self, node: Node) -> int:
        """The set of parameters that a value is computed from, not counting those before the input comes in."""
        found = 1 << node.index if node.op == "parameter" else 0
        for read in node.sources:
            found |= self._made_of[read.index]
        return found

    def _ancestors_of(self, node: Node, tokens: list[Node], is_map: bool) -> int:
        """The ancestors of an active node, itself included."""
        if not self.carries(node):  # no gradient flows through it
            return 0
        found = 0
        for read in node.inputs:
            found |= self.ancestors[read.index]
        for token in tokens:
            found |= self._made_of[token.index]
        starts = is_map or node.op == "input" or found
        return found | 1 << node.index if starts else 0

    def _computed_kernel(self, node: Node) -> Use | None:
        """The use of the parameter that a layer's weight is mostly made of, where the weight depends on the input too."""
        kernel = node.arguments.get("weight")
        if not isinstance(kernel, Node) or not self.active[kernel.index] or node.op in NORMS:
            return None
        made = reach([kernel], lambda n: () if n.op == "parameter" or n.index in self._layers else n.inputs)
        learned = (n for n in made if n.op == "parameter" and len(n.shape) > 1)
        own = max(learned, key=lambda n: prod(n.shape), default=None)
        return None if own is None else Use(node, own.name, "weight", kernel)

    def _chooses_matrices(self, node: Node) -> bool:
        """Whether a node picks some of many matrices, such as those of a mixture's experts: these stay parameters."""
        is_choice = node.op in ("index", "index_select") and len(node.inputs[0].shape) > 2
        return is_choice and bool(self._made_of[node.inputs[0].index])

    def _find_coefficient(self, node: Node) -> None:
        if node.op not in ("mul", "div"):
            return
        operands = self.operands(node)
        if len(operands) == 1 and any(self._is_given_value(node, n) for n in node.inputs):
            self.coefficients[node.index] = operands[0]
        if len(operands) != 2 or operands[0] is operands[1]:
            return
        a, b = operands
        if node.op == "div" or self.depends(b, a):
            self.coefficients[node.index] = b
        elif self.depends(a, b):
            self.coefficients[node.index] = a
        elif prod(node.shape) not in (prod(a.shape), prod(b.shape)):  # an outer product, in which neither scales the other
            return
        elif prod(a.shape) != prod(b.shape):
            self.coefficients[node.index] = min(a, b, key=lambda n: prod(n.shape))
        elif (rank := self._gate_rank(a, b)) != (other := self._gate_rank(b, a)):
            self.coefficients[node.index] = a if rank > other else b

    def _is_given_value(self, product: Node, factor: Node) -> bool:
        """Whether a factor that does not depend on the input is the value in a product: a state of zeros, a constant."""
        return unmoved(factor).op in ZEROS or (self._made_of[factor.index] != 0 and is_modulated(product, factor))

    def _gate_rank(self, node: Node, factor: Node) -> float:
        is_around_one = node.op == "add" and 1 in node.arguments.values()  # as 1 + scale in SPADE
        while (node.op in REARRANGEMENTS or node.op in ("add", "sub", "rsub", "mul", "div")) and len(self.operands(node)) == 1:
            node = self.operands(node)[0]
        if self.depends(factor, node):  # an activation function that the other factor has gone through as well
            return 0
        lowest = node.arguments.get("min_val", node.arguments.get("min"))
        is_positive = isinstance(lowest, (int, float)) and lowest >= 0
        if node.op in ("clamp", "hardtanh") and not is_positive:  # it bounds a value
            return 0
        if (
            node.op == "div"
            and (exponential := unmoved(node.inputs[0])).op == "exp"
            and self.depends(node.inputs[1], exponential)
        ):
            return GATE_RANK["softmax"]  # written by hand
        is_activation = node.op == "mul" and node.index in self.coefficients  # e.g. x * sigmoid(x)
        return 1 if is_activation else GATE_RANK.get(node.op, 0.5 if is_around_one else 0)

    def _split(self, operand: Node, role: str) -> Iterator[tuple[str, str]]:
        """The parameters an operand is computed from, each with its own role.

        The factors of a product are distinguished by size: of a weight-normalized weight, the direction keeps the role and
        the magnitude is a scale, and so is what is multiplied with a larger constant. Of a weight with noise, the factor of
        the noise is one as well.
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
            largest = max((prod(n.shape) for n in (node.inputs if node.op in ("mul", "div") else learned)), default=0)
            if node.op in NORMS:
                affine = [n for n in learned if n is not node.inputs[0]]
                queue += [(node.inputs[0], role), *((n, "norm") for n in affine)]
                continue
            if role in ("embedding", "position") and (affine := [n for n in learned if is_affine(node, n)]):
                queue += [(n, "norm" if n in affine else role) for n in learned]  # of learned tokens
                continue
            if (mean := without_noise(node)) is not node:
                queue += [(n, role if n is mean else "scale") for n in learned]
                continue
            is_alike = node.op in SUMS | PRODUCTS | REARRANGEMENTS | {"cat", "stack"}
            queue += [(n, role if is_alike or prod(n.shape) == largest else "scale") for n in learned]
