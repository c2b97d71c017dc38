"""ReZero: residual branches behind a learnable zero."""

from __future__ import annotations

from ..network import Network
from . import INITIALIZERS, Method
from ._default_rules import open_branches
from .kaiming import BODY, default_head, fill_kaiming


@INITIALIZERS.register("rezero", Method(paper="Bachlechner et al. 2021, arXiv 2003.04887", needs=("branches",)))
def rezero(net: Network) -> None:
    """ReZero: a learnable multiplier on each residual branch, 0 at first; other weights are Kaiming (fan-out).

    The published ResNets keep BatchNorm, and their blocks' last ReLU is the branch's last step instead of one after the
    sum: build the model that way. On a network without normalization the same rule is this
    project's own construction. The head gets torch's default. Scalars learn at the full rate.

    Raises:
        UsageError: If a branch has no module of its own on which a multiplier could act.
    """
    places = net.branch_places()
    for weight in net.weights(*BODY):
        fill_kaiming(net, weight)
    default_head(net)
    open_branches(net)
    for branch, place in places.items():
        net.add_scalar("output_scale", 0.0, branch.end, at=place)
