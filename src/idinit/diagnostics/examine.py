"""Examines the initialization of a network as it is: what is wrong, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from ..errors import UsageError
from ..graph.own_inputs import inputs_of
from ..graph.probe import Inputs, call_arguments, gradients
from ..parts.blocks import matrices
from ..parts.classify import analyze
from ..parts.find import find_structure, layout_by_hand
from ..parts.structure import MAPS, Structure
from .branches import BranchSize, branch_sizes
from .examination import Examination
from .findings import CHECKS, Evidence
from .forward_pass import Peak, Softmax, watch_forward
from .looks import look_at
from .series import Matrix, find_series
from .signal_profile import SignalPoint, signal_profile
from .twins import find_twins
from .zeros import check_zeros


@torch.inference_mode(False)  # gradients are measured
def examine(model: nn.Module, example_inputs: Inputs | None = None) -> Examination:
    """Examines the initialization of a network; the network is left as it was.

    For each weight, the result names the rule by which it seems to have been filled and its spread, the root mean square
    times the square root of the fan-in; for weights that do the same in one layer after another, how the spread changes with
    depth. One forward and backward pass with `generic_loss`, as in training but without dropout, gives the sizes of
    activations, gradients and residual branches, and how evenly softmaxes spread; where layers are zero, equal or silent, a few
    steps of gradient descent on a copy tell whether they stay so. Each fault is a finding with a remedy; see `CHECKS`.

    Args:
        model: Any module, before training; outliers, saturated softmaxes and wide spreads are normal in a trained one.
        example_inputs: A tensor, a tuple of the forward pass' arguments, or a mapping of keyword ones; None where the model
            describes its inputs, see `idinit.initialize_`.

    Returns:
        A record that prints as a table; ``examination.assert_healthy()`` is for a test.

    Raises:
        UsageError: If the model does not run on the inputs.
    """
    example_inputs = inputs_of(model, example_inputs)
    analysis = analyze(model, example_inputs)
    structure = find_structure(model, example_inputs, analysis=analysis)
    found = list(_matrices(model, structure))
    series = find_series(found, structure)
    notes: list[str] = []
    signals: list[SignalPoint] = []
    branches: list[BranchSize] = []
    softmaxes: list[Softmax] = []
    peaks: list[Peak] = []
    flat: list[str] = []
    zeros = None
    equal_units: set[str] = set()
    equal_maps: set[str] = set()
    try:
        inputs = tree_leaves(call_arguments(model, example_inputs))
        softmaxes, peaks, flat = watch_forward(analysis.flow, analysis.graph, inputs)
        branches = branch_sizes(model, example_inputs, analysis=analysis)
        signals = signal_profile(model, example_inputs, analysis=analysis)
    except UsageError as error:
        notes.append(f"signals are not measured: {error}")
    try:
        learning = gradients(model, example_inputs)[1]
        equal_units, equal_maps = find_twins(model, example_inputs, structure, learning)
        if any(not parameter.any() and _multiplies(structure, name) for name, parameter in model.named_parameters()):
            zeros = check_zeros(model, example_inputs, analysis=analysis)
    except UsageError as error:
        notes.append(f"gradients are not measured: {error}")
    pairs = [node for node in analysis.flow.nodes if node.op == "batch_norm" and prod(node.shape) == 2 * node.shape[1]]
    if pairs:
        notes.append("batch normalization of two values of a channel hides how large gradients are: give a larger batch")
    evidence = Evidence(
        model,
        structure,
        found,
        series,
        signals=signals,
        branches=branches,
        softmaxes=softmaxes,
        peaks=peaks,
        flat=flat,
        zeros=zeros,
        equal_units=equal_units,
        equal_maps=equal_maps,
        paired=bool(pairs),
    )
    findings = tuple(finding for check in CHECKS.values() for finding in check(evidence))
    return Examination(
        type(model).__name__,
        tuple(found),
        tuple(series),
        tuple(signals),
        tuple(branches),
        tuple(softmaxes),
        findings,
        tuple(notes),
    )


def _multiplies(structure: Structure, name: str) -> bool:
    """Whether a parameter multiplies what flows through it, so that zeros silence it."""
    return structure.parts.get(name) in (*MAPS, "embedding", "norm", "scale") and structure.neutral.get(name) != 0


def _matrices(model: nn.Module, structure: Structure) -> Iterator[Matrix]:
    """The linear maps, one for each part that a parameter holds, and the embeddings."""
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    for name, value in parameters.items():
        part, layout = structure.parts.get(name), structure.layouts.get(name)
        if value.ndim < 2 or not value.numel() or part not in (*MAPS, "embedding", "position"):
            continue
        if part in ("embedding", "position"):
            layout = None
        elif layout is None and not structure.layouts:
            layout = layout_by_hand(model, name)
        if layout is None:
            blocks = value.reshape(1, -1, value.shape[-1])
            yield Matrix(name, part, tuple(value.shape), look_at(blocks))
            continue
        if how := structure.computed.get(name):
            with torch.no_grad():
                acting = how(parameters)
            value = acting if acting.shape == value.shape else value
        slices = structure.slices.get(name, ())
        for own in dict.fromkeys(piece.part for piece in slices) or [part]:
            blocks = matrices(value, layout, [piece for piece in slices if piece.part == own])
            yield Matrix(name, own, tuple(blocks.shape[1:]), look_at(blocks))
