"""Refuses a method that would leave zeros in a network which nothing ever moves."""

from __future__ import annotations

from ..diagnostics.zeros import check_zeros
from ..errors import UsageError
from ..parts.structure import owner_of, patterns_for
from .network import Network


def require_no_stuck_zeros(net: Network) -> None:
    """Refuses a method whose zeros would never move; see `idinit.diagnostics.zeros.check_zeros`.

    That happens where a gate of zeros is kept, as its author chose, behind a branch that the method silences; where the scale
    of such a branch is zero and cannot be opened, as that of ``tanh(scale) * f(x)``; and where a ReLU, whose slope at zero is
    0, follows inside it. Other networks are not looked at, as it takes a few passes.

    Args:
        net: A network that a method has filled.

    Raises:
        UsageError: If the method's zeros would stay.
    """
    gates = {name for name in net.names("gate") if name in net.kept and _is_zero(net, name)}
    scales = {name for branch in net.branches for name in branch.scales if _is_zero(net, name)}
    if net.example_inputs is None or not (gates or scales or net.structure.rectified):
        return
    paths = check_zeros(net.model, net.example_inputs).violations
    for path in paths:
        ours = [name for name in path if name not in net.kept and name not in scales]
        if not ours:
            continue
        start = f"initializer '{net.method}' starts '{ours[0]}' at zero, where nothing would ever move it"
        if gate := next((name for name in path if name in gates), None):
            owners = {owner_of(name) for path in paths for name in path if name in gates}
            meant = [name for name in net.names() if name in net.kept and owner_of(name) in owners]  # with their biases
            raise UsageError(
                f"{start}, as '{gate}', a gate that the model's author zeroed, is zero too: let these be filled, "
                f"replace={patterns_for(meant, net.names())}, or use 'idinit'"
            )
        if scale := next((name for name in path if name in scales), None):
            raise UsageError(f"{start}, as '{scale}', the scale of its branch, is zero too: give that a value, or use 'idinit'")
        raise UsageError(f"{start}, as a ReLU follows in the branch: move it behind the sum, or use 'idinit'")


def _is_zero(net: Network, name: str) -> bool:
    return not net.model.get_parameter(name).any()
