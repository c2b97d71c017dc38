"""Fixup: deep residual networks without normalization, by scaling each branch down with depth."""

from __future__ import annotations

from typing import Literal

from torch import nn

from ..errors import UsageError
from ..network import Network
from ..network.scalars import Kind
from ..parts import Branch
from . import INITIALIZERS, Method
from ._default_rules import open_branches, zero_head
from ._layers import attends
from .kaiming import BODY, fill_kaiming

LR_SCALE = 0.1


@INITIALIZERS.register(
    "fixup",
    Method(
        paper="Zhang, Dauphin & Ma 2019, arXiv 1901.09321",
        needs=("branches", "no_norm"),
        pitfalls=(
            "Scalars are found by a substring of their names, so that renaming a module changes their learning rate.",
            "The shortcut leaves after the branch's first bias in every block, instead of only where the shape changes.",
        ),
    ),
)
def fixup(net: Network, *, stem: Literal["default", "he"] = "default") -> None:
    """Fixup: branches scaled by L^(-1/(2m-2)), their last weight and the head 0, and learnable scalars.

    With L branches of m weights in a row each, inner weights are Kaiming (fan-out) times L^(-1/(2m-2)); every other weight is
    Kaiming. Queries and keys count among the weights of attention's branch, packed with the values or not: m is 4, as in the
    authors' code for Transformers. A scalar bias (0) stands before and after each weight of a branch, after the stem and
    before the head, and a scalar multiplier (1) on each branch, before its last bias. Where a module changes the shape of the
    shortcut, the branch's first bias feeds it too. The scalars learn at a tenth of the rate. Where no module's output is what
    a scalar would act on, as in torch's MultiheadAttention, there is none, and the report says so.

    Args:
        net: The network.
        stem: ``default`` leaves the first weight to torch's default, as the authors' code does; ``he`` reads the
            paper's rule for "the other layers" literally.

    Raises:
        UsageError: If the branch that queries or keys belong to is not known.
    """
    depth, attentions = len(net.branches), _attentions(net)
    for weight in net.weights(*BODY):
        if weight.part == "branch_end":
            net.fill(weight, "0", nn.init.zeros_)
        elif weight.part == "stem" and stem == "default":
            net.fill_default(weight)
        elif (branch := attentions.get(weight.name, weight.branch)) and (inner := _inner(net, branch)):
            fill_kaiming(net, weight, factor=depth ** (-1 / (2 * inner)))
        else:
            fill_kaiming(net, weight)
    for weight in net.weights("head"):
        zero_head(net, weight)
    open_branches(net)
    for weight in net.weights("stem"):
        _add_scalar(net, "output_bias", 0, weight.name)
    for branch in net.branches:
        _add_scalars(net, branch)
    for weight in net.weights("head"):
        _add_scalar(net, "input_bias", 0, weight.name)


def _inner(net: Network, branch: Branch) -> int:
    """How many weights in a row are scaled in a branch: all but the last."""
    return (branch.depth or len(branch.weights)) - 1 + 2 * attends(net.structure, branch)


def _attentions(net: Network) -> dict[str, Branch]:
    """The branch of the weights that make queries and keys alone."""
    found: dict[str, Branch | None] = {}
    for heads in net.structure.heads:
        branch = next((branch for branch in net.branches if heads.output in branch.weights), None)
        found |= {heads.query: branch, heads.key: branch}
    for weight in net.weights("query", "key"):
        if weight.name not in found and weight.branch is None:
            raise UsageError(
                f"initializer 'fixup': the residual branch of '{weight.name}' ({weight.part}) is not known, as its attention "
                "has not one weight each for queries, keys, values and output; use 'rezero'"
            )
    return {name: branch for name, branch in found.items() if branch}


def _add_scalars(net: Network, branch: Branch) -> None:
    for name in branch.weights:
        shortcut = branch.shortcut if name == branch.weights[0] else None
        _add_scalar(net, "input_bias", 0, name, also=shortcut)
        if name != branch.end:
            _add_scalar(net, "output_bias", 0, name)
    ends = [name for name in branch.weights if net.structure.parts.get(name) == "branch_end"]
    if branch.output is None and len(ends) > 1:
        net.note(branch.end, f"no multiplier: the branch ends in '{ends[0]}' as well, and no module returns both")
    else:
        _add_scalar(net, "output_scale", 1, branch.end, at=branch.output)
    _add_scalar(net, "output_bias", 0, branch.end, at=branch.output)


def _add_scalar(net: Network, kind: Kind, value: float, weight: str, at: str | None = None, also: str | None = None) -> None:
    if net.can_act_on(at) if at else net.can_act_at(weight):
        net.add_scalar(kind, value, weight, at=at, also=also, lr_scale=LR_SCALE)
    else:
        net.note(weight, "scaling rule only, no scalars: no module returns its output, as one tensor and in one call")
