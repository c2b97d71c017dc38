"""The size of residual branches: what each adds, relative to its input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from ..graph.evaluate import evaluate
from ..graph.node import Node
from ..graph.probe import Inputs, call_arguments, tensors_in
from ..parts.classify import Analysis, analyze
from .signal_profile import root_mean_square


@dataclass(frozen=True)
class BranchSize:
    """The size of a residual branch.

    Attributes:
        end: Name of the branch's last weight.
        ratio: Root mean square of the branch's output over that of its input.
        has_end_norm: Whether a normalization follows the last weight, which scales the output up again.
    """

    end: str
    ratio: float
    has_end_norm: bool


def branch_sizes(model: nn.Module, example_inputs: Inputs, *, analysis: Analysis | None = None) -> list[BranchSize]:
    """Measures the output of every residual branch relative to its input; the model is left as it was.

    The input is what the branch has in common with what it is added to; of several such values, the largest counts. Batch
    normalization uses the batch's statistics, as in training; nothing is dropped.

    Args:
        model: Any module.
        example_inputs: A tensor, a tuple of the forward pass' arguments, or a mapping of keyword ones.
        analysis: What `analyze` found in them, where it has been called already.

    Returns:
        The branches, in the order of their sums.

    Raises:
        UsageError: If the model does not run on the inputs, or has operators that cannot be run one by one.
    """
    analysis = analysis or analyze(model, example_inputs)
    sides = [side for side in analysis.sides if side.shortcut and (own := analysis.own(side)) and own[-1] in side.ends]
    inputs = [side.entrances or side.others for side in sides]
    measured = {node.index for side, entering in zip(sides, inputs, strict=True) for node in (side.operand, *entering)}
    sizes: dict[int, float] = {}

    def watch(node: Node, value: Any) -> Any:
        if node.index in measured:
            sizes[node.index] = max(map(root_mean_square, tensors_in(value)))  # some operators return several tensors
        return value

    with torch.no_grad():
        evaluate(analysis.graph, tree_leaves(call_arguments(model, example_inputs)), watch)
    found = []
    for side, entering in zip(sides, inputs, strict=True):
        size = max(max(sizes.get(node.index, 0.0) for node in entering), 1e-30)
        found.append(BranchSize(analysis.own(side)[-1].parameter, sizes[side.operand.index] / size, bool(side.norms)))
    return found
