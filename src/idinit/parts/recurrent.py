"""Recurrent layers and hand-written recurrent cells: what in their weights and biases is the value, and what its gates."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..graph.addition import addends
from ..graph.dataflow import Flow, Use
from ..graph.node import Node, unmoved
from ..graph.operators import RECURRENT
from ..graph.traversal import walk_back
from .row_labels import rows
from .side_paths import find_loops

# In torch's order. The gate that keeps the state is second in both: forget of the LSTM, update of the GRU.
_BLOCKS = {
    "lstm": ("gate", "gate", "recurrent", "gate"),
    "gru": ("gate", "gate", "recurrent"),
    "rnn": ("recurrent",),
}
_KEEPER = 1


@dataclass
class Cells:
    """The hand-written recurrent cells of a network.

    Attributes:
        weights: Names of their weights.
        last: Their uses in the last step, which stand for the others.
        outputs: Of the last step's maps, which outputs are gates: pairs of ``gate`` and the gate.
        keepers: Of biases, the indices that belong to the gate that keeps the state.
    """

    weights: set[str] = field(default_factory=set)
    last: set[Use] = field(default_factory=set)
    outputs: dict[Use, list[tuple[str, Node]]] = field(default_factory=dict)
    keepers: dict[str, tuple[int, int]] = field(default_factory=dict)


def find_recurrent(flow: Flow) -> set[str]:
    """The weights of hand-written recurrent networks; see `idinit.parts.side_paths.find_loops`."""
    loops = find_loops(flow)
    return loops | _added_to(flow, loops, _steps(flow))


def find_cells(flow: Flow, weights: set[str]) -> Cells:
    """Finds the gates of hand-written recurrent cells, by what is multiplied with what.

    A gate scales something else. It keeps the state where it scales what earlier steps made and the product is added to
    something: the forget gate of an LSTM, the update gate of a GRU; not the GRU's reset gate, whose product a map follows.

    Args:
        flow: The graph.
        weights: Names of the cells' weights.
    """
    steps = _steps(flow)
    last = {steps[name][-1] for name in weights}
    cells = Cells(weights, last)
    for index, gate in flow.coefficients.items():
        makers = [use for use in walk_back(flow, gate).maps if use in last]
        for use in makers:
            cells.outputs.setdefault(use, []).append(("gate", gate))
        if makers and _keeps_state(flow, flow.nodes[index], gate, last):
            _note_keeper(flow, makers[0], gate, cells.keepers)
    return cells


def _steps(flow: Flow) -> dict[str, list[Use]]:
    steps: dict[str, list[Use]] = {}
    for use in flow.maps:
        steps.setdefault(use.parameter, []).append(use)
    return steps


def _added_to(flow: Flow, loops: set[str], steps: dict[str, list[Use]]) -> set[str]:
    """The weights, one for all steps, whose outputs are added to what a loop's weight makes: those of the cell's input."""
    found = set()
    for node in flow.nodes if loops else ():
        sides = [walk_back(flow, n).maps for n in addends(node)]
        direct = {maps[0].parameter for maps in sides if len(maps) == 1}
        if len(sides) > 1 and direct & loops:
            count = max(len(steps[name]) for name in direct & loops)
            found |= {name for name in direct if len(steps[name]) == count}
    return found


def _keeps_state(flow: Flow, product: Node, gate: Node, last: set[Use]) -> bool:
    if any(use in last for value in flow.values(product) for use in walk_back(flow, value).maps):
        return False
    is_complement = unmoved(gate).op in ("sub", "rsub")  # of 1: its product keeps the state where the gate is small
    return not is_complement and any(addends(user) for user in product.users)


def _note_keeper(flow: Flow, use: Use, gate: Node, keepers: dict[str, tuple[int, int]]) -> None:
    bias = use.node.arguments.get("bias")
    if not isinstance(bias, Node) or bias.op != "parameter":
        return
    try:
        _, numbers = rows(flow, use, gate)
    except LookupError:
        return
    if numbers and numbers == list(range(numbers[0], numbers[-1] + 1)):
        keepers[bias.name] = (numbers[0], numbers[-1] + 1)


def blocks(use: Use) -> tuple[str, ...]:
    """The parts of the blocks of rows of a recurrent layer's weight or bias; one block where it has no gates."""
    if use.node.op not in RECURRENT:
        return ("recurrent",)
    parts = _BLOCKS[use.node.op.partition("_")[0]]
    # An LSTM's projection of its output has no gates, and fewer rows than every other weight.
    sizes = [n.shape[0] for n in _learned(use.node) if len(n.shape) == len(use.operand.shape)]
    return parts if use.operand.shape[0] == max(sizes) else ("recurrent",)


def keeper(use: Use) -> tuple[int, int] | None:
    """The rows of a bias that belong to the gate that keeps the state; None for other biases, and all but the first one."""
    if use.node.op not in RECURRENT or len(use.operand.shape) != 1 or len(parts := blocks(use)) == 1:
        return None
    learned = _learned(use.node)
    is_first = len(learned[learned.index(use.operand) - 1].shape) > 1  # torch adds two biases, w_ih, w_hh, b_ih, b_hh
    size = use.operand.shape[0] // len(parts)
    return (_KEEPER * size, (_KEEPER + 1) * size) if is_first else None


def _learned(node: Node) -> list[Node]:
    """The weights and biases of a recurrent operator, in order."""
    arguments = [value for key, value in node.arguments.items() if key not in ("input", "data", "hx", "batch_sizes")]
    flat = [v for value in arguments for v in (value if isinstance(value, (list, tuple)) else [value])]
    return [v for v in flat if isinstance(v, Node)]
