"""IDInit: padded identities that keep the main path, and branches that end almost at zero."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from ..init import Layout, identity_, zero_preserving_
from ..network import MAPS, Network
from . import INITIALIZERS
from .kaiming import fill_kaiming

CLAIMS = tuple(f"C{i}" for i in range(1, 16))


@INITIALIZERS.register("idinit", paper="Pan et al. 2025, arXiv 2503.04626", claims=CLAIMS, needs=())
def idinit(
    net: Network,
    *,
    tau: Annotated[float, Field(gt=0)] = 1.0,
    eps: Annotated[float, Field(ge=0)] = 1e-6,
    layout: Layout = "patch",
    loose: bool = False,
    loose_std: Annotated[float, Field(gt=0)] = 1e-6,
    zero_preserving: bool = True,
    stem: Literal["idi", "kaiming", "default"] = "idi",
    head: Literal["idi", "zero", "default"] = "default",
) -> None:
    """IDInit: identity-preserving IDI(tau) on the main path, zero-preserving IDIZ(eps) at the end of each branch.

    From the paper: trunk and inner branch weights are IDI(tau), the last weight of a branch is IDIZ(eps). What could be
    read of it does not tell the rest; these rules are ours, and the report says so: stem and head (options), shortcut
    projections and attention's query, key and value (IDI), gates (torch's default).

    Args:
        net: The network.
        tau: Value of the identity's entries.
        eps: Size of the entries of the zero-preserving weights.
        layout: How a kernel becomes a matrix: ``patch`` (patch-maintain, IDIC and IDIZC), ``spatial`` (the same with
            position slowest) or ``channel`` (the centre tap, which the paper argues against).
        loose: Draw the identity's entries from a normal around tau. Off (ours): whether the experiments do is not
        known.
        loose_std: Standard deviation of that normal.
        zero_preserving: If off, the last weight of a branch is IDI(tau) like the branch's others, so that an identity
            branch doubles its input: the ablation's "without IDIZC" as we read it.
        stem: Rule of the first weight.
        head: Rule of the last weight.
    """
    std = loose_std if loose else 0.0
    idi = f"IDI({tau:g}){f', loose {std:g}' if loose else ''}, {layout}"
    rules = dict.fromkeys(MAPS, "idi") | {"gate": "default", "stem": stem, "head": head}
    if zero_preserving:
        rules["branch_end"] = "idiz"
    for weight in net.weights():
        note = "" if weight.part in ("trunk", "branch", "branch_end") else "ours, the paper does not say"
        match rules[weight.part]:
            case "idi":
                net.fill(weight, idi, lambda w: identity_(w, tau, layout, std, net.generator), note)
            case "idiz":
                net.fill(weight, f"IDIZ({eps:g}), {layout}", lambda w: zero_preserving_(w, eps, layout), note)
            case "zero":
                net.fill(weight, "0", nn.init.zeros_, note)
            case "kaiming":
                fill_kaiming(net, weight, note=note)
            case _:
                net.fill_default(weight, note)
    if zero_preserving:
        net.open_branches()
