"""Faults of initialization: one check for each kind of fault, each with its remedy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass

from torch import Tensor, nn

from ..parts.structure import Structure
from .branches import BranchSize
from .forward_pass import Peak, Softmax
from .series import Matrix, Series, depth_factors
from .signal_profile import SUM, SignalPoint
from .zeros import ZeroCheck

_HUGE = 1e6
_TINY = 1e-30  # no initialization draws such a number; memory that was never written to is full of them
_WIDE = 30.0  # times 1/sqrt(fan-in)
_EXPLODES, _DIES = 1e4, 1e-6
_GRADIENTS = 1e8  # either way: where normalization follows, the size of a gradient does not measure how weights move
_SATURATED = 0.1
_FLOAT16 = 65504.0
_BRANCHING = ("branch", "gate", "query", "key", "value")


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or very likely so.

    Attributes:
        kind: Which check found it; a key of `CHECKS`.
        problem: What is wrong, in a sentence.
        remedy: What to do.
        where: Names of the parameters, buffers or modules concerned.
    """

    kind: str
    problem: str
    remedy: str
    where: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.problem}: {some(self.where)}. {self.remedy}."


@dataclass(frozen=True)
class Evidence:
    """The measurements of a network that the checks judge.

    Attributes:
        model: The network.
        structure: Its parts and branches.
        matrices: Its linear maps and embeddings.
        series: The same by what they do in one layer after another.
        signals: Sizes of activations and gradients; none where they could not be measured.
        branches: Sizes of residual branches.
        softmaxes: How evenly its softmaxes spread.
        peaks: The largest numbers.
        flat: Modules with activation functions that let no gradient through.
        zeros: Its zero factors, if there are any.
        equal_units: Linear maps with units that are equal, and stay so.
        equal_maps: Linear maps that are equal to another one, and stay so.
        paired: Whether a batch normalization has two values of a channel. It makes them 1 and -1, whatever enters, so that the
            sizes of gradients before it say nothing.
    """

    model: nn.Module
    structure: Structure
    matrices: Sequence[Matrix]
    series: Sequence[Series]
    signals: Sequence[SignalPoint] = ()
    branches: Sequence[BranchSize] = ()
    softmaxes: Sequence[Softmax] = ()
    peaks: Sequence[Peak] = ()
    flat: Sequence[str] = ()
    zeros: ZeroCheck | None = None
    equal_units: Set[str] = frozenset()
    equal_maps: Set[str] = frozenset()
    paired: bool = False


def some(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    return ", ".join(f"'{name}'" for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _memory(evidence: Evidence) -> Iterator[Finding]:
    """Parameters and buffers that were never written to, and hold what was in memory before."""
    remedy = "It was never written to, as after to_empty: call initialize_, and put buffers there again"
    values = {name: parameter.detach() for name, parameter in evidence.model.named_parameters()}
    if names := tuple(name for name, value in values.items() if not value.isfinite().all()):
        yield Finding("memory", "Parameters are not finite", remedy, names)
    if names := tuple(name for name, value in values.items() if _is_garbage(value)):
        yield Finding("memory", "Parameters hold numbers that no initialization gives", remedy, names)
    buffers = {name: b for name, b in evidence.model.named_buffers() if b.is_floating_point()}
    if names := tuple(name for name, buffer in buffers.items() if buffer.isnan().any() or _is_denormal(buffer)):
        yield Finding("memory", "Buffers hold NaN, or numbers that no code puts there", remedy, names)
    spread = tuple(
        f"{path}.running_var" if path else "running_var"
        for path, module in evidence.model.named_modules()
        if isinstance(variance := getattr(module, "running_var", None), Tensor) and not bool((variance > 0).any())
    )
    if spread:
        yield Finding("memory", "Running variances are zero or less", remedy, spread)
    norms = [n for n, part in evidence.structure.parts.items() if part == "norm" and evidence.structure.neutral.get(n) == 1]
    silent = [name for name in norms if not values[name].any()]
    maps = [m.parameter for m in evidence.matrices if m.part not in ("embedding", "position")]
    empty = [m.parameter for m in evidence.matrices if m.looks.rule == "zeros" and m.parameter in maps]
    if len(norms) > 1 and len(silent) == len(norms) or len(maps) > 2 and len(empty) * 3 > len(maps) * 2:
        yield Finding("memory", "Most of the network is zero", remedy, tuple(dict.fromkeys([*empty, *silent])))


def _is_garbage(value: Tensor) -> bool:
    if not value.numel() or not value.isfinite().all():
        return False
    return float(value.abs().max()) > _HUGE or _is_denormal(value)


def _is_denormal(value: Tensor) -> bool:
    size = value.abs()
    return bool(((size > 0) & (size < _TINY)).any())


def _zeros(evidence: Evidence) -> Iterator[Finding]:
    """Zero factors in a row, and those behind which an activation function lets no gradient through."""
    for path in evidence.zeros.violations if evidence.zeros else ():
        if len(path) > 1:
            yield Finding("zeros", "Zeros in a row keep each other at zero", "Fill all but one of them", path)
        else:
            problem = "Zeros make the input of an activation function zero, where its slope is 0, and never move"
            yield Finding("zeros", problem, "Draw them at random; scales of normalizations are 1", path)


def _dead(evidence: Evidence) -> Iterator[Finding]:
    """Layers all of whose units are dead, or saturated."""
    if evidence.flat:
        yield Finding(
            "dead",
            "Units are where their activation function is flat, all of them in every example, and pass no gradient",
            "Make their inputs lie around zero: biases of zero before them, and weights as initialize_ gives them",
            tuple(evidence.flat),
        )


def _twins(evidence: Evidence) -> Iterator[Finding]:
    """Units, or layers, that are equal and stay so, as their weights and the gradients of these are equal."""
    for what, names in (("Units", evidence.equal_units), ("Layers", evidence.equal_maps)):
        if names:
            yield Finding(
                "twins",
                f"{what} are equal, get equal gradients, and stay equal for ever",
                "Draw their weights at random, as initialize_ with any random method does",
                tuple(name for name, _ in evidence.model.named_parameters() if name in names),
            )


def _depth(evidence: Evidence) -> Iterator[Finding]:
    """Factors of depth where they do not belong, and ends of branches that lack the one that others have.

    Two kinds of methods scale other weights on purpose: DeepNorm and T-Fixup whole branches, all but queries and keys, and
    Fixup what comes before ends of zeros.
    """
    series, ends = evidence.series, [i for i, one in enumerate(evidence.series) if one.part == "branch_end"]
    falling = {i for i, one in enumerate(series) if one.exponent is not None and -1.2 < one.exponent < -0.25}
    factors = depth_factors(series, len(evidence.structure.branches))
    rows = {i for i, one in enumerate(series) if len(one.matrices) > 2}
    scaled = falling | {i for i, factor in factors.items() if factor < 1 and i in rows}
    whole = {factors[i] for i in rows & factors.keys() if series[i].part in ("value", "branch", "branch_end")}
    are_silent = bool(ends) and all(matrix.looks.std == 0 for i in ends for matrix in series[i].matrices)
    if not falling and (are_silent or len(whole) == 1 and max(whole) < 1):
        return
    wrong = [i for i in sorted(scaled) if series[i].part in _BRANCHING]
    parts = {series[i].part for i in wrong}
    if "value" not in parts and not {"query", "key"} <= parts:  # one of these alone is scaled for other reasons
        wrong = [i for i in wrong if series[i].part not in ("query", "key")]
    plain = {i for i in ends if i in rows and i not in scaled and factors.get(i) == 1}
    if falling & {*ends, *wrong}:
        plain |= {i for i in ends if i in rows and i not in scaled and series[i].exponent == 0}
    if wrong:
        yield Finding(
            "depth",
            "Weights that are no ends of branches are scaled down with depth",
            "Scale the last weight of each branch instead, as initialize_(model, 'depth_scaled') does",
            tuple(name for i in wrong for name in series[i].names),
        )
    if plain and (wrong or any(i in scaled for i in ends)):
        yield Finding(
            "depth",
            "Ends of branches lack the factor of depth that others have",
            "Scale the last weight of every branch, as initialize_(model, 'depth_scaled') does",
            tuple(name for i in sorted(plain) for name in series[i].names),
        )


def _outliers(evidence: Evidence) -> Iterator[Finding]:
    """Normals truncated many standard deviations away, by a function that piles up values at the bounds."""
    if names := tuple(matrix.parameter for matrix in evidence.matrices if matrix.looks.outliers):
        yield Finding(
            "outliers",
            "A few values are many standard deviations away",
            "Truncate at two or three standard deviations (the bounds of trunc_normal_ are absolute), "
            "as idinit.init.truncated_normal_ does",
            names,
        )


def _wide(evidence: Evidence) -> Iterator[Finding]:
    """Weights that make their inputs very much larger."""
    maps = [m for m in evidence.matrices if m.part not in ("embedding", "position") and m.looks.rule != "not finite"]
    if names := tuple(m.parameter for m in maps if _WIDE < m.looks.spread < _HUGE):
        yield Finding(
            "spread",
            f"Weights are more than {_WIDE:g} times as large as 1/sqrt(fan-in)",
            "Divide them by the root of their fan-in, as initialize_(model, 'lecun') does",
            names,
        )


def _softmaxes(evidence: Evidence) -> Iterator[Finding]:
    """Softmaxes that are saturated before anything is learned."""
    if names := tuple(dict.fromkeys(s.module for s in evidence.softmaxes if s.evenness < _SATURATED)):
        yield Finding(
            "softmax",
            "Softmaxes are saturated: one choice has nearly all, and little gradient passes",
            "Make what they compare smaller: queries and keys, or the scale of their product",
            names,
        )


def _overflow(evidence: Evidence) -> Iterator[Finding]:
    """Numbers beyond the range of half precision."""
    high = [peak for peak in evidence.peaks if peak.value > _FLOAT16 or not math.isfinite(peak.value)]
    if high:
        yield Finding(
            "overflow",
            f"Numbers reach {max(peak.value for peak in high):.1e}, and those of float16 end at 65504",
            "Make weights smaller, or run in bfloat16",
            tuple(dict.fromkeys(peak.module for peak in high)),
        )


def _stack(evidence: Evidence) -> Iterator[Finding]:
    """Signals that grow or fade from layer to layer until nothing is left to learn from."""
    path = [s for s in evidence.signals if s.part in (SUM, "stem", "trunk")]
    if len(path) < 3:
        return
    for what, sizes, first, most, least in (
        ("Activations", [s.activation for s in path], path[0].name, _EXPLODES, _DIES),
        ("Gradients", [s.gradient for s in reversed(path)], path[-1].name, _GRADIENTS, 1 / _GRADIENTS),
    ):
        low, high = (1.0, 1.0) if what == "Gradients" and evidence.paired else _trend(sizes)
        if high > most or low < least:
            changed = f"grow {high:.1e} times" if high > most else f"shrink to {low:.1e}"
            yield Finding(
                "stack",
                f"{what} {changed} over {len(sizes)} layers",
                "Initialize by a method that keeps their size at this depth: 'idinit', 'fixup' with shortcuts, 'orthogonal' or "
                "'kaiming' without",
                (first,),
            )


def _trend(sizes: Sequence[float]) -> tuple[float, float]:
    """The least and the greatest of what sizes have become since the first, leaving out the largest step on the way.

    A step may be wanted, as LayerScale's; a stack that fades or explodes does so at every layer.
    """
    if not all(map(math.isfinite, sizes)):
        return 1.0, math.inf
    logs = [math.log(size) for size in sizes if size]
    steps = [after - before for before, after in zip(logs, logs[1:], strict=False)]
    low = high = total = down = up = 0.0
    for step in steps:
        total, down, up = total + step, min(down, step), max(up, step)
        low, high = min(low, total - down), max(high, total - up)
    return math.exp(max(low, -700)), math.exp(min(high, 700))


CHECKS: dict[str, Callable[[Evidence], Iterator[Finding]]] = {
    "memory": _memory,
    "zeros": _zeros,
    "dead": _dead,
    "twins": _twins,
    "depth": _depth,
    "outliers": _outliers,
    "spread": _wide,
    "softmax": _softmaxes,
    "overflow": _overflow,
    "stack": _stack,
}
