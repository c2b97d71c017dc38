"""What stands side by side in the weights and biases of torch's recurrent layers: the value and its gates."""

from __future__ import annotations

from ..graph.dataflow import Use
from ..graph.node import Node
from ..graph.operators import RECURRENT

# In torch's order. The gate that keeps the state is second in both: forget of the LSTM, update of the GRU.
_BLOCKS = {
    "lstm": ("gate", "gate", "recurrent", "gate"),
    "gru": ("gate", "gate", "recurrent"),
    "rnn": ("recurrent",),
}
_KEEPER = 1


def blocks(use: Use) -> tuple[str, ...]:
    """The parts of the blocks of rows of a recurrent layer's weight or bias; one block where it has no gates."""
    if use.node.op not in RECURRENT:
        return ("recurrent",)
    parts = _BLOCKS[use.node.op.partition("_")[0]]
    # An LSTM's projection of its output has no gates, and fewer rows than every other weight.
    rows = [n.shape[0] for n in _learned(use.node) if len(n.shape) == len(use.operand.shape)]
    return parts if use.operand.shape[0] == max(rows) else ("recurrent",)


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
