"""Runs a recorded graph on real values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from ..errors import UsageError
from .node import Graph, Node
from .probe import does_not_run, own_randomness


def evaluate(
    graph: Graph,
    inputs: Sequence[Any],
    watch: Callable[[Node, Any], Any] = lambda _node, value: value,
    parameters: Mapping[str, Tensor] | None = None,
) -> Any:
    """Runs a graph; batch normalization uses the batch's statistics, random numbers are the same every time.

    Args:
        graph: What `capture` recorded.
        inputs: The values of its inputs, in their order.
        watch: Called with each node and its value, before anything can write to it; returns the value to go on with.
        parameters: Values of parameters, by name; the others have their present ones.

    Returns:
        What the output node holds.

    Raises:
        UsageError: If an operator cannot be run on its own (a loop, or a choice between graphs) or fails on these values, or
            if there are more or fewer inputs than the graph has.
    """
    devices = {node.value.device for node in graph.nodes if node.op == "parameter"}
    with own_randomness(devices):
        return _evaluate(graph, inputs, watch, parameters or {})


def _evaluate(graph: Graph, inputs: Sequence[Any], watch: Callable[[Node, Any], Any], parameters: Mapping[str, Tensor]) -> Any:
    values: dict[int, Any] = {}
    given = iter([value.clone() if isinstance(value, Tensor) else value for value in inputs])
    if sum(node.op == "input" for node in graph.nodes) != len(inputs):
        raise UsageError("the network takes other inputs than those that its graph was recorded with")
    last_use = {n.index: node.index for node in graph.nodes for n in node.inputs}
    for node in graph.nodes:
        if node.op == "input":
            values[node.index] = next(given)
        elif node.op == "parameter":
            values[node.index] = parameters.get(node.name, node.value)
        elif node.op == "constant":
            values[node.index] = node.value.clone()  # some are written to
        elif node.op == "write":
            values[node.index] = values[node.inputs[0].index]
        elif node.op == "output":
            return _filled(node.arguments["values"], values)
        else:
            values[node.index] = run(node, values)
        values[node.index] = watch(node, values[node.index])
        for index in {n.index for n in node.inputs}:
            if last_use[index] == node.index:
                del values[index]
    raise AssertionError("a graph without an output")


def run(node: Node, values: Mapping[int, Any]) -> Any:
    """What one operator of a graph makes of the values of other nodes, by their index; see `evaluate`."""
    if node.call is None:
        raise UsageError(
            f"the network's operator '{node.op}' cannot be run on its own, so that what flows in it cannot be measured"
        )
    arguments = {name: _filled(value, values) for name, value in node.arguments.items()}
    if node.op == "batch_norm":
        arguments |= {"running_mean": None, "running_var": None, "training": True}
    try:
        return node.call(**arguments) if hasattr(node.call, "_schema") else node.call(*arguments.values())
    except Exception as error:  # e.g. of inputs in another precision than the weights, which recording lets pass
        raise does_not_run(error) from error


def _filled(value: Any, values: Mapping[int, Any]) -> Any:
    """An argument with values in place of nodes."""
    if isinstance(value, Node):
        return values[value.index]
    if isinstance(value, (list, tuple)):
        return type(value)(_filled(v, values) for v in value)
    if isinstance(value, dict):
        return {key: _filled(v, values) for key, v in value.items()}
    return value
