"""From the graphs of torch.fx to nodes."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._ops import HigherOrderOperator

from .node import Node

_ADDED_PRODUCTS = {
    "addmm": ("mm", torch.ops.aten.mm.default),
    "baddbmm": ("bmm", torch.ops.aten.bmm.default),
    "addmv": ("mv", torch.ops.aten.mv.default),
    "addcmul": ("mul", torch.ops.aten.mul.Tensor),
}


class Recorder:
    """Turns FX graphs into nodes: names arguments, follows writes to views, and inlines nested graphs.

    Attributes:
        nodes: The nodes, in the order of execution.
    """

    def __init__(self, model: nn.Module) -> None:
        self.nodes: list[Node] = []
        self._leaves: dict[int, Node] = {}
        self._tensors = dict([*model.named_buffers(remove_duplicate=False), *model.named_parameters(remove_duplicate=False)])
        self._names = {id(parameter): name for name, parameter in model.named_parameters()}
        modules = list(model.named_modules(remove_duplicate=False))
        names = {id(module): name for name, module in reversed(modules)}
        self._paths = {name: names[id(module)] for name, module in modules}  # a shared module has one name

    def run(self, graph: fx.GraphModule, names: Mapping[str, str], constants: Mapping[str, Any]) -> None:
        """Records a graph.

        Args:
            graph: What was traced.
            names: Names of the parameters, buffers and constants that are inputs of the graph, by the placeholders' names.
            constants: Constants by name.
        """
        tensors = {**constants, **self._tensors}
        placeholders = graph.graph.find_nodes(op="placeholder")
        inputs = [self._leaf(tensors[names[n.name]]) if n.name in names else self._add("input", {}, n) for n in placeholders]
        self._add("output", {"values": self._inline(graph, inputs)})

    def _leaf(self, tensor: Tensor) -> Node:
        if id(tensor) not in self._leaves:
            name = self._names.get(id(tensor), "")
            self._leaves[id(tensor)] = self._add("parameter" if name else "constant", {}, name=name, value=tensor)
        return self._leaves[id(tensor)]

    def _add(self, op: str, arguments: dict[str, Any], source: fx.Node | None = None, **facts: Any) -> Node:
        if source is not None:
            stack = source.meta.get("nn_module_stack", {})
            scope = tuple((key, self._paths.get(path, path)) for key, (path, _) in stack.items() if path)
            facts |= {"value": source.meta.get("val"), "scope": scope}
        node = Node(len(self.nodes), op, arguments, _nodes_in(arguments), **facts)
        for read in dict.fromkeys(node.inputs):
            read.users.append(node)
        self.nodes.append(node)
        return node

    def _inline(self, graph: fx.GraphModule, inputs: Iterable[Any]) -> Any:
        bound: dict[fx.Node, Any] = {}
        bases: dict[fx.Node, fx.Node] = {}  # of views: what they are views of
        arguments = iter(inputs)

        def resolve(value: Any) -> Any:
            return fx.node.map_arg(value, lambda n: bound[n])

        for n in graph.graph.nodes:
            if n.op == "placeholder":
                bound[n] = next(arguments)
            elif n.op == "get_attr":
                value = operator.attrgetter(n.target)(graph)
                bound[n] = self._leaf(value) if isinstance(value, Tensor) else value
            elif n.op == "output":
                return resolve(n.args[0])
            elif isinstance(n.target, HigherOrderOperator):
                bound[n] = self._nested(n, [*resolve(n.args), *resolve(n.kwargs).values()])
            elif n.target is operator.getitem and not isinstance(bound[n.args[0]], Node):
                bound[n] = bound[n.args[0]][n.args[1]]  # of what a nested graph returned
            elif hasattr(n.target, "_schema"):
                self._operation(n, resolve, bound, bases)
            else:
                arguments_by_place = {str(i): resolve(a) for i, a in enumerate(n.args)}
                bound[n] = self._add(n.target.__name__, arguments_by_place, n, call=n.target)
        raise AssertionError("a graph without an output")

    def _nested(self, n: fx.Node, arguments: list[Any]) -> Any:
        """What an operator that runs a graph returns, e.g. the one for what runs without gradients."""
        bodies = [a for a in arguments if isinstance(a, fx.GraphModule)]
        if len(bodies) != 1:  # a choice between graphs, or a loop
            return self._add(str(n.target), {"arguments": [a for a in arguments if a not in bodies]}, n)
        count = len(bodies[0].graph.find_nodes(op="placeholder"))
        return self._inline(bodies[0], arguments[len(arguments) - count :])

    def _operation(
        self, n: fx.Node, resolve: Callable[[Any], Any], bound: dict[fx.Node, Any], bases: dict[fx.Node, fx.Node]
    ) -> None:
        schema = n.target._schema  # type: ignore[union-attr]  # an overload of an operator
        op = schema.name.split("::")[-1]
        named = {a.name: value for a, value in zip(schema.arguments, n.args, strict=False)} | dict(n.kwargs)
        op, arguments = op.rstrip("_") if schema.is_mutable else op, resolve(named)
        ways = (self._added_product, self._gated_unit, self._product_by_letters)
        taken_apart = next((node for way in ways if (node := way(op, arguments, n))), None)
        node = bound[n] = taken_apart or self._add(op, arguments, n, call=n.target)
        for argument in schema.arguments:
            target = named.get(argument.name)
            if argument.alias_info is None or not isinstance(target, fx.Node):
                continue
            if not argument.alias_info.is_write:
                bases[n] = target
                continue
            bound[target] = node
            while target in bases:  # later reads of the whole tensor also read what was written to a part of it
                target = bases[target]
                whole = bound[target]
                parts = {"self": whole, "value": node}
                bound[target] = self._add("write", parts, value=whole.value, scope=node.scope)

    def _added_product(self, op: str, arguments: dict[str, Any], n: fx.Node) -> Node | None:
        """A product that is added to something, as a product and an addition: ``addmm`` and the like, but not to a bias."""
        added_to = arguments.get("self")
        if op not in _ADDED_PRODUCTS or not isinstance(added_to, Node) or arguments.get("beta", 1) != 1:
            return None
        if op != "addcmul" and added_to.shape != tuple(n.meta["val"].shape):
            return None
        name, call = _ADDED_PRODUCTS[op]
        factors = [value for key, value in arguments.items() if key not in ("self", "alpha", "beta", "value")]
        keys = [argument.name for argument in call._schema.arguments]
        product = self._add(name, dict(zip(keys, factors, strict=False)), n, call=call)
        alpha = arguments.get("alpha", arguments.get("value", 1))
        return self._add("add", {"self": added_to, "other": product, "alpha": alpha}, n, call=torch.ops.aten.add.Tensor)

    def _gated_unit(self, op: str, arguments: dict[str, Any], n: fx.Node) -> Node | None:
        """A ``glu``, as the halves of its input, a sigmoid and a product."""
        if op != "glu":
            return None
        aten, given, dim = torch.ops.aten, arguments["self"], arguments.get("dim", -1)
        size = n.meta["val"].shape[dim]
        places = ({"dim": dim, "start": start, "end": start + size} for start in (0, size))
        value, gate = (self._add("slice", {"self": given, **place}, n, call=aten.slice.Tensor) for place in places)
        gate = self._add("sigmoid", {"self": gate}, n, call=aten.sigmoid.default)
        return self._add("mul", {"self": value, "other": gate}, n, call=aten.mul.Tensor)

    def _product_by_letters(self, op: str, arguments: dict[str, Any], n: fx.Node) -> Node | None:
        """An Einstein sum of two or more factors that sums over nothing, as products of elements."""
        if op != "einsum":
            return None
        terms, _, result = arguments["equation"].replace(" ", "").partition("->")
        letters, aten, dtype = terms.split(","), torch.ops.aten, n.meta["val"].dtype
        is_sum = not result or any(set(t) - set(result) or len(set(t)) < len(t) for t in (*letters, result))
        if is_sum or len(letters) < 2 or "." in terms:
            return None
        product: Node | None = None
        shape = [1] * len(result)
        for own, factor in zip(letters, arguments["tensors"], strict=True):
            sizes = dict(zip(own, factor.shape, strict=True))
            spread = [sizes.get(letter, 1) for letter in result]
            order = [own.index(letter) for letter in result if letter in sizes]
            node = self._add("permute", {"self": factor, "dims": order}, n, call=aten.permute.default)
            node.value = torch.empty([factor.shape[dim] for dim in order], dtype=dtype, device="meta")
            node = self._add("reshape", {"self": node, "shape": spread}, n, call=aten.reshape.default)
            node.value = torch.empty(spread, dtype=dtype, device="meta")
            shape = [max(sizes) for sizes in zip(shape, spread, strict=True)]
            if product is not None:
                node = self._add("mul", {"self": product, "other": node}, n, call=aten.mul.Tensor)
                node.value = torch.empty(shape, dtype=dtype, device="meta")
            product = node
        return product


def _nodes_in(value: Any) -> tuple[Node, ...]:
    if isinstance(value, Node):
        return (value,)
    if isinstance(value, dict):
        return tuple(n for v in value.values() for n in _nodes_in(v))
    if isinstance(value, (list, tuple)):
        return tuple(n for v in value for n in _nodes_in(v))
    return ()
