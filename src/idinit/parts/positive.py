"""Maps whose outputs are made positive and then multiply: logarithms of scales, variances, step sizes."""

from __future__ import annotations

from collections.abc import Iterator

from ..graph.dataflow import Flow, Use
from ..graph.node import Node, reach, unmoved
from ..graph.operators import PRODUCTS, REARRANGEMENTS, SUMS

_FACTORS = {"mul", "div"}
_GUARDS = {"clamp", "clamp_min", "clamp_max", "hardtanh", "neg", "rsub"}  # behind a tanh, no scale can explode
_NOISE = {"randn", "randn_like", "normal"}


def find_positive(flow: Flow) -> Iterator[tuple[Use, str, Node]]:
    """Finds maps that make positive factors by an ``exp`` or ``softplus``, what they are, and the node that they lead to.

    What is exponentiated and scales a value, as in an affine coupling, or noise, as a variational autoencoder's log-variance,
    is an output of a network, a ``head``: at the size of other layers' outputs the scale would explode. So is what
    ``softplus`` makes the size of noise. What else only multiplies after ``softplus`` is a ``gate``, such as the step sizes of
    a selective state space model.
    """
    for node in flow.nodes:
        if node.op not in ("exp", "softplus") or not flow.active[node.index]:
            continue
        passed = list(reach([node], lambda n: [user for user in n.users if _is_moved(user)]))
        readers = [user for n in passed for user in flow.readers(n) if user not in passed]
        if any(_scales_noise(user) or (node.op == "exp" and _scales(flow, user, passed)) for user in readers):
            if _is_normalized(flow, node, passed):
                continue
            part = "head"
        elif node.op == "softplus" and readers and all(_multiplies(flow, user) for user in readers):
            part = "gate"
        else:
            continue
        source = node.inputs[0]
        while source.index not in flow.maps_at and len(operands := flow.operands(source)) == 1 and _keeps(source):
            source = operands[0]
        yield from ((use, part, node.inputs[0]) for use in flow.maps_at.get(source.index, ()) if use.role == "weight")


def _is_moved(node: Node) -> bool:
    """Whether a node only rearranges a value, or adds a number to it or multiplies it with one."""
    return node.op in REARRANGEMENTS | {"broadcast_tensors"} or (node.op in SUMS | _FACTORS and len(node.inputs) == 1)


def _keeps(node: Node) -> bool:
    return node.op in REARRANGEMENTS | SUMS | _FACTORS | _GUARDS


def _is_normalized(flow: Flow, node: Node, passed: list[Node]) -> bool:
    """Whether what is made of a factor divides others, as in a softmax written by hand and in xLSTM: it weighs a mean."""
    arithmetic = REARRANGEMENTS | SUMS | _FACTORS | PRODUCTS | {"sum", "cumsum", "stack", "cat", "abs", "maximum", "clamp"}
    made = reach([node], lambda n: [user for user in flow.readers(n) if user.op in arithmetic])
    return any(user.op == "div" and flow.coefficients.get(user.index) is n for n in made if n not in passed for user in n.users)


def _scales(flow: Flow, node: Node, passed: list[Node]) -> bool:
    return node.op in _FACTORS and flow.coefficients.get(node.index) in passed


def _scales_noise(node: Node) -> bool:
    return node.op == "mul" and any(unmoved(n).op in _NOISE for n in node.inputs)


def _multiplies(flow: Flow, node: Node) -> bool:
    """Whether a node multiplies values or learned numbers, not masks, and is not a layer."""
    is_product = node.op in PRODUCTS | _FACTORS and node.index not in flow.maps_at
    return is_product and len(node.inputs) > 1 and all(flow.origins(n) for n in node.inputs)
