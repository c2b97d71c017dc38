"""The graph of one forward pass, in a form that is easy to walk.

`torch.export` records the operators of a forward pass as PyTorch's Python functions call them (``linear``, ``layer_norm``,
``scaled_dot_product_attention``), each with the modules it was called in. A model that will not export (its control flow
depends on values, say) is run once on the real input under `make_fx`, which records the same operators.
"""

from __future__ import annotations

import io
import logging
import operator
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import make_fx

from .errors import UsageError

Inputs = tuple[Any, ...] | Mapping[str, Any]


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
        value: The tensor of a parameter or constant; for others, what tells shape and dtype. None where it is no tensor.
        call: The operator itself; it takes ``arguments`` as keyword arguments.
        scope: The module calls around it, outermost first: (unique key of the call, dotted name of the module).
        users: The nodes that read it.
    """

    index: int
    op: str
    arguments: dict[str, Any]
    inputs: tuple[Node, ...] = ()
    name: str = ""
    value: Any = None
    call: Any = None
    scope: tuple[tuple[str, str], ...] = ()
    users: list[Node] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape; () where the value is no tensor."""
        return tuple(self.value.shape) if isinstance(self.value, Tensor) else ()

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


def capture(model: nn.Module, example_inputs: Inputs) -> Graph:
    """Records one forward pass in evaluation mode; the model is left exactly as it was.

    Args:
        model: Any module; on any device, the meta device included.
        example_inputs: The forward pass' positional arguments, or a mapping of its keyword arguments.

    Raises:
        UsageError: If the model does not run on these inputs.
    """
    args, kwargs = ((), dict(example_inputs)) if isinstance(example_inputs, Mapping) else (tuple(example_inputs), {})
    recorder = _Recorder(model)
    with _left_as_it_was(model), _outputs_noted() as tensors_only:
        model.eval()
        model.register_forward_hook(lambda _module, _args, output: _tensors_in(output))  # caches and the like do not export
        try:
            with redirect_stderr(io.StringIO()):  # where export prints the graph up to what it cannot do
                program = torch.export.export(model, args, kwargs, strict=False)
        except Exception:  # export has no common error type, and running the model is the judge in any case
            tensors_only.clear()
            recorder.run(_trace(model, args, kwargs), {}, {})
        else:
            signature = program.graph_signature
            names = signature.inputs_to_parameters | signature.inputs_to_buffers | signature.inputs_to_lifted_tensor_constants
            recorder.run(program.graph_module, names, program.constants)
        hookable = {name for name, module in model.named_modules() if tensors_only.get(id(module.__dict__))}
    return Graph(recorder.nodes, hookable)


def _trace(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> fx.GraphModule:
    """Runs the model on the real inputs and records the operators."""

    def call(args: Any, kwargs: Any) -> Any:
        return model(*args, **kwargs)

    call._orig_mod = model  # type: ignore[attr-defined]  # whose modules are recorded with the operators
    try:
        trace = make_fx(call, pre_dispatch=True, record_module_stack=True, _error_on_data_dependent_ops=False)
        return trace(args, kwargs)
    except Exception as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise UsageError(
            f"the model does not run on example_inputs ({type(error).__name__}: {reason}): "
            "give a tuple of its positional arguments or a dict of its keyword arguments"
        ) from error


@contextmanager
def _outputs_noted() -> Iterator[dict[int, bool]]:
    """Notes of each module that is called whether it returns one tensor and nothing else.

    Modules are told by their attributes' dictionary: export runs shared modules through stand-ins, which share it.
    """
    tensors_only: dict[int, bool] = {}

    def note(module: nn.Module, _args: Any, output: Any) -> None:
        key = id(module.__dict__)
        tensors_only[key] = isinstance(output, Tensor) and tensors_only.get(key, True)

    handle = nn.modules.module.register_module_forward_hook(note)
    try:
        yield tensors_only
    finally:
        handle.remove()


@contextmanager
def _left_as_it_was(model: nn.Module) -> Iterator[None]:
    """Restores modules' attributes, buffers' values, random state and attention's fast path afterwards."""
    saved = [(m, {k: (v, _copy(v)) for k, v in m.__dict__.items()}) for m in model.modules()]
    buffers = [(b, b.detach().clone()) for b in model.buffers() if not b.is_meta]
    muted = logging.root.manager.disable
    logging.disable(logging.WARNING)  # export reports what it cannot do; the fallback can
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one fused operator would hide attention's weights
    try:
        with torch.random.fork_rng(), torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(muted)
        torch.backends.mha.set_fastpath_enabled(fast_path)
        for module, attributes in saved:
            module.__dict__.clear()
            module.__dict__.update({name: _restored(*values) for name, values in attributes.items()})
        with torch.no_grad():
            for buffer, value in buffers:
                if not torch.equal(buffer, value):
                    buffer.copy_(value)


def _copy(value: Any) -> Any:
    return value.copy() if isinstance(value, (list, dict, set)) else value


def _restored(value: Any, content: Any) -> Any:
    """The container itself with its old content: handles of hooks, for one, refer to the container."""
    if isinstance(value, list):
        value[:] = content
    elif isinstance(value, (dict, set)):
        value.clear()
        value.update(content)
    return value


class _Recorder:
    """Turns FX graphs into nodes: names arguments, follows writes to views, and inlines nested graphs."""

    def __init__(self, model: nn.Module) -> None:
        self.first: dict[int, str] = {}  # the name of each tensor: the first under which the model knows it
        self.tensors = dict([*model.named_buffers(remove_duplicate=False), *model.named_parameters(remove_duplicate=False)])
        for name, tensor in self.tensors.items():
            self.first.setdefault(id(tensor), name)
        modules = list(model.named_modules(remove_duplicate=False))
        names = {id(module): name for name, module in reversed(modules)}
        self.paths = {name: names[id(module)] for name, module in modules}  # a shared module has one name
        self.leaves: dict[int, Node] = {}
        self.nodes: list[Node] = []

    def run(self, graph_module: fx.GraphModule, names: Mapping[str, str], constants: Mapping[str, Any]) -> None:
        self.tensors = {**constants, **self.tensors}
        placeholders = graph_module.graph.find_nodes(op="placeholder")
        inputs = [self.leaf(self.tensors[names[n.name]]) if n.name in names else self.add("input", {}, n) for n in placeholders]
        self.add("output", {"values": self.inline(graph_module, inputs, ())})

    def leaf(self, tensor: Tensor) -> Node:
        if id(tensor) not in self.leaves:
            kind = "parameter" if isinstance(tensor, nn.Parameter) else "constant"
            self.leaves[id(tensor)] = self.add(kind, {}, value=tensor, name=self.first.get(id(tensor), ""))
        return self.leaves[id(tensor)]

    def add(self, op: str, arguments: dict[str, Any], source: fx.Node | None = None, scope: tuple = (), **facts: Any) -> Node:
        meta = {} if source is None else source.meta
        stack = meta.get("nn_module_stack", {})
        inner = tuple((key, self.paths.get(path, path)) for key, (path, _) in stack.items() if path)
        value = facts.pop("value", meta.get("val"))
        node = Node(len(self.nodes), op, arguments, _nodes_in(arguments), value=value, scope=scope or inner, **facts)
        for read in node.inputs:
            read.users.append(node)
        self.nodes.append(node)
        return node

    def inline(self, graph_module: fx.GraphModule, inputs: list[Any], scope: tuple) -> Any:
        bound: dict[fx.Node, Any] = {}
        bases: dict[fx.Node, fx.Node] = {}  # views, and what they are views of
        arguments = iter(inputs)

        def resolve(value: Any) -> Any:
            return fx.node.map_arg(value, lambda n: bound[n])

        for n in graph_module.graph.nodes:
            if n.op == "placeholder":
                bound[n] = next(arguments)
            elif n.op == "get_attr":
                value = operator.attrgetter(n.target)(graph_module)
                bound[n] = self.leaf(value) if isinstance(value, Tensor) else value
            elif n.op == "output":
                return resolve(n.args[0])
            elif isinstance(n.target, torch._ops.HigherOrderOperator):
                bound[n] = self.nested(n, [*resolve(n.args), *resolve(n.kwargs).values()], scope)
            elif n.target is operator.getitem and not isinstance(resolve(n.args[0]), Node):
                bound[n] = resolve(n.args[0])[n.args[1]]
            else:
                bound[n] = self.operation(n, resolve, bound, bases, scope)
        raise AssertionError("a graph without an output")

    def nested(self, n: fx.Node, arguments: list[Any], scope: tuple) -> Any:
        bodies = [a for a in arguments if isinstance(a, fx.GraphModule)]
        if len(bodies) != 1:
            return self.add(str(n.target), {"args": [a for a in arguments if a not in bodies]}, n, scope)
        body = bodies[0]
        count = len(body.graph.find_nodes(op="placeholder"))
        return self.inline(body, arguments[len(arguments) - count :] if count else [], scope)

    def operation(self, n: fx.Node, resolve: Any, bound: dict, bases: dict, scope: tuple) -> Node:
        schema = getattr(n.target, "_schema", None)
        if schema is None:
            name = getattr(n.target, "__name__", str(n.target))
            return self.add(name, {str(i): resolve(a) for i, a in enumerate(n.args)}, n, scope, call=n.target)
        op = schema.name.split("::")[-1]
        named = {a.name: v for a, v in zip(schema.arguments, n.args, strict=False)} | dict(n.kwargs)
        node = self.add(op.rstrip("_") if schema.is_mutable else op, resolve(named), n, scope, call=n.target)
        for argument in schema.arguments:
            target = named.get(argument.name)
            if argument.alias_info is None or not isinstance(target, fx.Node):
                continue
            if not argument.alias_info.is_write:
                bases[n] = target
                continue
            bound[target] = node
            while target in bases:  # whoever reads the whole tensor later also reads what was written to a part of it
                target = bases[target]
                bound[target] = self.add("write", {"self": bound[target], "value": node}, scope=node.scope,
                                         value=bound[target].value)
        return node


def _nodes_in(value: Any) -> tuple[Node, ...]:
    if isinstance(value, Node):
        return (value,)
    if isinstance(value, dict):
        return tuple(n for v in value.values() for n in _nodes_in(v))
    if isinstance(value, (list, tuple)):
        return tuple(n for v in value for n in _nodes_in(v))
    return ()


def _tensors_in(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return [tensor for item in items for tensor in _tensors_in(item)]
