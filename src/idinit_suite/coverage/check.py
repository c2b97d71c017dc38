"""Checks one network: its parts, its state after ``idinit``, and the findings of `examine` as its library builds it."""

from __future__ import annotations

import copy
import math
import resource
import time
from collections import Counter
from typing import Any

import torch
from torch import nn

from idinit.diagnostics.branches import branch_sizes
from idinit.diagnostics.examine import examine
from idinit.diagnostics.signal_profile import root_mean_square
from idinit.diagnostics.zeros import first_steps, moved
from idinit.errors import kind_and_reason
from idinit.graph.probe import Inputs, gradients
from idinit.initialize import initialize_
from idinit.network.record import LEFT_ALONE
from idinit.parts import find_parts

from .expert_labels import expected_parts, wrong_labels
from .families import TRUE_FINDINGS

# A branch's output is at most this share of its input; the second number holds where a normalization follows its last
# weight, whose epsilon is all that keeps it from scaling the branch up to full size.
LIMIT, LIMIT_BEFORE_NORM = 1e-4, 1e-2
# Gradients below this share of the largest are rounding errors, e.g. of a bias that a normalization takes out again.
_NEGLIGIBLE = 1e-6
_NOISE = 0.02  # standard deviation


def check(model: nn.Module, inputs: Inputs, labels: str | None = None) -> dict[str, Any]:
    """Initializes a network by ``idinit`` and measures what came of it; a copy of it as it was is examined.

    Args:
        model: The network; it is changed.
        inputs: Of a forward pass.
        labels: What an expert says of its weights, as in `expert_labels`; None where none has.

    Returns:
        The columns of a row of coverage.csv, from ``parameters`` on; ``problems`` is empty where all is well.
    """
    problems: list[str] = []
    row: dict[str, Any] = {}
    as_built = copy.deepcopy(model)
    for step in (_parts, _branches, _gradients, _alarms):
        try:
            row |= step(as_built if step is _alarms else model, inputs, problems)
        except Exception as error:  # a network of any library may fail in any way: that is a result
            problems.append(f"{step.__name__[1:]}: {kind_and_reason(error)}")
            if step is _parts:  # nothing was initialized
                break
    if labels is not None:
        row |= _labels(model, inputs, labels)
    return row | {"problems": "; ".join(problems)}


def _parts(model: nn.Module, inputs: Inputs, problems: list[str]) -> dict[str, Any]:
    before = _peak_memory()
    start = time.perf_counter()
    report = initialize_(model, "idinit", inputs)
    seconds = time.perf_counter() - start
    if missing := {name for name, _ in model.named_parameters()} - {row.parameter for row in report.rows}:
        problems.append(f"not in the report: {_some(sorted(missing))}")
    known = [row for row in report.rows if row.part != "unknown"]
    reasons = Counter(row.note for row in report.rows if row.part == "unknown")
    return {
        "seconds": round(seconds, 2),
        "memory_mb": round(_peak_memory() - before),
        "parameters": len(report.rows),
        "weights": sum(parameter.numel() for parameter in model.parameters()),
        "parts": len(known),
        "unknown": "; ".join(f"{count} x {reason}" for reason, count in reasons.items()),
        "left_alone": sum(row.rule == LEFT_ALONE for row in known),
    }


def _branches(model: nn.Module, inputs: Inputs, problems: list[str]) -> dict[str, Any]:
    sizes = branch_sizes(model, inputs)
    largest = {
        has_norm: max((size.ratio for size in sizes if size.has_end_norm is has_norm), default=0.0)
        for has_norm in (False, True)
    }
    for has_norm, limit in ((False, LIMIT), (True, LIMIT_BEFORE_NORM)):
        loud = [size for size in sizes if size.has_end_norm is has_norm and not size.ratio < limit]
        if loud:
            worst = max(loud, key=lambda size: math.inf if math.isnan(size.ratio) else size.ratio)
            problems.append(f"{len(loud)} of {len(sizes)} branches are not silent: {worst.end} at {worst.ratio:.1e}")
    return {"branches": len(sizes), "largest": f"{largest[False]:.1e}", "largest_before_norm": f"{largest[True]:.1e}"}


def _gradients(model: nn.Module, inputs: Inputs, problems: list[str]) -> dict[str, Any]:
    outputs, found = gradients(model, inputs)
    if not all(bool(output.isfinite().all()) for output in outputs if output.is_floating_point()):
        problems.append("the output is not finite")
    if bad := [name for name, gradient in found.items() if gradient is not None and not gradient.isfinite().all()]:
        problems.append(f"gradients are not finite: {_some(bad)}")
    if len(moved(found)) == len(found):
        return {"late": 0, "dead": 0}
    values = {name: parameter.detach().clone() for name, parameter in model.named_parameters() if name in found}
    steps = first_steps(model, inputs, values)
    dead = _receptive(model, inputs, [name for name in found if name not in steps])
    if dead:
        problems.append(f"{len(dead)} parameters receive no gradient: {_some(dead)}")
    return {"late": sum(step > 1 for step in steps.values()), "dead": len(dead)}


def _alarms(model: nn.Module, inputs: Inputs, _problems: list[str]) -> dict[str, Any]:
    """The findings of `examine` in the network as its library builds it, and how many of them are false alarms."""
    findings = examine(model, inputs).findings
    alarms = sum(finding.kind not in TRUE_FINDINGS for finding in findings)
    return {"alarms": alarms, "findings": "; ".join(f"{finding.kind}: {finding}" for finding in findings)}


def _labels(model: nn.Module, inputs: Inputs, labels: str) -> dict[str, Any]:
    """The number of decisive weights that an expert has labelled, and those whose part is found to be another one."""
    expected = expected_parts(model, labels)
    wrong = wrong_labels(expected, find_parts(model, inputs))
    differences = [f"{name} is {part or 'unknown'}, not {right}" for name, (right, part) in wrong.items()]
    return {"labels": len(expected), "labels_wrong": len(wrong), "mislabelled": _some(differences)}


def _receptive(model: nn.Module, inputs: Inputs, names: list[str]) -> list[str]:
    """The parameters that receive a gradient where no weight is zero or equal to another."""
    if not names:
        return []
    generator = torch.Generator().manual_seed(0)
    noisy = {
        name: parameter.detach() + _NOISE * torch.randn(parameter.shape, generator=generator)
        for name, parameter in model.named_parameters()
    }
    found = gradients(model, inputs, noisy)[1].items()
    sizes = {name: 0.0 if gradient is None else root_mean_square(gradient) for name, gradient in found}
    limit = _NEGLIGIBLE * max(size for size in sizes.values() if math.isfinite(size))
    return [name for name in names if sizes[name] > limit]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _peak_memory() -> float:
    """The most memory that the process has held so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3  # Linux: kB
