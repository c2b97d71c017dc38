"""SkipInit: one learnable scalar on each residual branch."""

from __future__ import annotations

from typing import Literal

from ..network import Network
from . import INITIALIZERS, Method
from ._default_rules import open_branches, zero_head
from .kaiming import BODY, fill_kaiming


@INITIALIZERS.register("skipinit", Method(paper="De & Smith 2020, arXiv 2002.10444", needs=("branches",)))
def skipinit(net: Network, *, alpha: Literal["zero", "inverse_sqrt_depth"] = "zero") -> None:
    """SkipInit: a learnable multiplier on each residual branch, 0 or 1/sqrt(number of branches) at first.

    Weights are Kaiming (fan-in, normal): our choice, where the authors' ImageNet code leaves them at its library's
    default (truncated normal, fan-in, gain 1). The head is 0, as in that code. Scalars learn at the full rate.

    Args:
        net: The network.
        alpha: Initial value of the multipliers; the publication offers both.

    Raises:
        UsageError: If a branch has no module of its own on which a multiplier could act.
    """
    places = net.branch_places()
    for weight in net.weights(*BODY):
        fill_kaiming(net, weight, "fan_in")
    for weight in net.weights("head"):
        zero_head(net, weight)
    open_branches(net)
    value = 0.0 if alpha == "zero" else len(net.branches) ** -0.5
    for branch, place in places.items():
        net.add_scalar("output_scale", value, branch.end, at=place)
