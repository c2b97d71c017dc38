"""IDInit: padded identities that keep the main path, and branches that end almost at zero."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeFloat, PositiveFloat

from ..init import Layout, identity_, zero_preserving_
from ..network import Network, Weight
from ..parts.structure import MAPS
from . import INITIALIZERS, Method
from ._default_rules import neutralize, open_branches, zero_head
from .kaiming import fill_kaiming

COEFFICIENTS = ("query", "key", "gate")


@INITIALIZERS.register("idinit", Method(paper="Pan et al. 2025, arXiv 2503.04626"))
def idinit(
    net: Network,
    *,
    tau: PositiveFloat = 1.0,
    eps: NonNegativeFloat = 1e-6,
    layout: Layout = "patch",
    loose: bool = False,
    loose_std: PositiveFloat = 1e-6,
    zero_preserving: bool = True,
    stem: Literal["idi", "kaiming", "default"] = "idi",
    head: Literal["idi", "zero", "default"] = "default",
    coefficients: Literal["idi", "default"] = "default",
) -> None:
    """IDInit: identity-preserving IDI(tau) on the main path, zero-preserving IDIZ(eps) at the end of each branch.

    From the paper: trunk and inner branch weights are IDI(tau), the last weight of a branch is IDIZ(eps). The text that we
    could read does not say the rest. The following rules are ours, and the report marks each weight that has one:

    - What carries values is IDI: stem (an option), shortcut projections, attention's values, and of recurrent layers all
      but the gates, the hidden state's own weight included (as in Le et al. 2015).
    - What only weighs values has torch's default: attention's queries and keys, squeeze-excite, the gates of gated units
      and of recurrent layers. Identical queries and keys would make each token attend to itself and, of long vectors,
      saturate the softmax; with grouped keys or rotated positions they would not even do that.
    - A factor after the last weight of a branch (LayerScale, SkipInit) starts where it changes nothing, and so does a norm
      there: its own epsilon bounds how much it can scale an IDIZ up, 1e-6 to 3e-4 at an epsilon of 1e-5. The same holds for
      a LayerScale on the main path, which would make it small.
    - A depthwise convolution has the centre tap in every layout: with one channel a group, ``patch`` would move each channel
      in one direction, layer after layer and out of the image. With a stride it has the layout asked for: by centre taps it
      would drop three of four pixels of a picture, and five in a row would leave one of 32 x 32. Other grouped convolutions
      are reshaped as they are stored, [out, in / groups * k].
    - The head has torch's default (an option); embeddings, positions, norms and biases have the shared rules.

    What the defaults mean:

    - ``layout``: in a network without shortcuts patches lose channels at each layer and ``channel`` loses none: take that
      where such a network is deep. ``spatial`` is the same matrix in another order.
    - ``zero_preserving``: without it each block about doubles its input.
    - ``tau``: only 1 keeps the size of signals where layers follow each other without shortcuts.
    - ``eps``: above 0 it keeps weights alive that an exact zero loses.
    - ``loose``: at the paper's 1e-6 the deviations are rounded away in half precision, so entries are exact.
    - ``stem``: by patches the first rows of a convolution read the first channels: 16 filters of 3x3 on RGB begin without
      blue. ``kaiming`` does not.

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
        coefficients: Rule of queries, keys and gates.
    """
    std = loose_std if loose else 0.0
    rules = dict.fromkeys(MAPS, "idi") | dict.fromkeys(COEFFICIENTS, coefficients) | {"stem": stem, "head": head}
    if zero_preserving:
        rules["branch_end"] = "idiz"
    for weight in net.weights():
        _fill(net, weight, rules[weight.part], tau, eps, "channel" if _keeps_its_place(weight) else layout, std)
    for name in net.structure.gains:
        neutralize(net, name, "the main path keeps its size")
    if zero_preserving:
        open_branches(net)
        for branch in net.branches:
            if branch.end_norm:
                net.note(f"{branch.end_norm}.weight", "after the last weight of its branch: its epsilon keeps the branch small")


def _fill(net: Network, weight: Weight, rule: str, tau: float, eps: float, layout: Layout, std: float) -> None:
    note = "" if weight.part in ("trunk", "branch", "branch_end") else "ours, the paper does not say"
    by_group = layout == "channel" and weight.shape[1] > 1  # one column a row is the same in groups, and groups take time
    match rule:
        case "idi":
            text = f"IDI({tau:g}){f', loose {std:g}' if std else ''}, {layout}"
            net.fill(weight, text, lambda w: identity_(w, tau, layout, std, net.generator), note, by_group)
        case "idiz":
            net.fill(weight, f"IDIZ({eps:g}), {layout}", lambda w: zero_preserving_(w, eps, layout), note, by_group)
        case "zero":
            zero_head(net, weight, note)
        case "kaiming":
            fill_kaiming(net, weight, note=note)
        case _:
            net.fill_default(weight, note)


def _keeps_its_place(weight: Weight) -> bool:
    """Whether a weight is that of a depthwise convolution without a stride."""
    return weight.groups > 1 and weight.shape[1] == 1 and weight.stride == 1
