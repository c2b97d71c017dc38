"""`idinit` beside AnyInit on the networks of the coverage: what each reads of a network, and what comes out.

AnyInit (https://github.com/jmiravet/AnyInit) scales random weights so that signals keep their size. It is not a dependency:
install it by hand, ``pip install anyinit``.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from inspect import signature
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from idinit.errors import UsageError, kind_and_reason
from idinit.graph.probe import Inputs, call_arguments
from idinit.initialize import initialize_

from ..report.blocks import Block, Heading, write_markdown
from ..report.page import this_machine
from ..report.table import table
from ..training.progress import console
from .families import Case, list_cases
from .verdict import LIBRARIES

Initialize = Callable[[nn.Module, Inputs], str]
_HAS = (
    "AnyInit has what this library lacks: Keras and Flax models, with the same weights from the same seed in all three; scales "
    "for activation functions that nobody has seen, from their moments by quadrature; a verdict on whether an activation "
    "function can be stable in depth at all; scales measured on batches over the whole graph (here LSUV alone, by layer)."
)
_HOW = (
    "one after the other, each built afresh for each library: `idinit.initialize_(model, 'idinit', inputs)` and "
    "`anyinit.initialize(model, 'analytic', batch)`, the batch being left out where the network takes more than one tensor. "
    "Finite means all outputs of one pass in evaluation mode. Neither says that a network trains well. The clock counts what "
    "else the machine does."
)


@dataclass(frozen=True)
class Outcome:
    """What one library did to one network.

    Attributes:
        read: How it read the network: ``graph``, or ``linear`` for a chain of layers; empty where it failed.
        is_finite: Whether all outputs are finite after it.
        seconds: How long it took.
        problem: Why it failed, in a line.
    """

    read: str
    is_finite: bool
    seconds: float
    problem: str = ""


def ours(model: nn.Module, inputs: Inputs) -> str:
    """Initializes a network with IDInit, whose parts always come from the graph."""
    initialize_(model, "idinit", inputs)
    return "graph"


def anyinit(model: nn.Module, inputs: Inputs) -> str:
    """Initializes a network with AnyInit's default, by theory, and tells how it read the network."""
    args = list(inputs.values()) if isinstance(inputs, dict) else list(inputs)
    is_first = not isinstance(inputs, dict) or list(inputs) == list(signature(model.forward).parameters)[:1]
    batch = args[0] if is_first and len(args) == 1 and isinstance(args[0], Tensor) else None
    return str(import_module("anyinit").initialize(model, "analytic", batch, seed=0).graph_fidelity)


def outcome(case: Case, initialize: Initialize) -> Outcome:
    """Builds a network of the coverage, initializes it and runs it once in evaluation mode."""
    torch.manual_seed(0)
    model, inputs = case.build()
    model.eval()
    started = time.perf_counter()
    try:
        read = initialize(model, inputs)
    except Exception as error:  # whatever a library of others raises is its outcome
        return Outcome("", False, time.perf_counter() - started, kind_and_reason(error))
    seconds = time.perf_counter() - started
    args, kwargs = call_arguments(model, inputs)
    with torch.no_grad():
        found = [leaf for leaf in tree_leaves(model(*args, **kwargs)) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    return Outcome(read, all(bool(leaf.isfinite().all()) for leaf in found), seconds)


def write_side_by_side(folder: Path, cases: Iterable[Case] | None = None) -> None:
    """Measures, and writes ``anyinit.md`` in a folder after each network, so that what was measured stays if it is stopped.

    Args:
        folder: Where the page goes; made if missing.
        cases: The networks; None for those of the coverage, with the small ones of transformers first.

    Raises:
        UsageError: If AnyInit is not installed.
    """
    try:
        version("anyinit")
    except PackageNotFoundError:
        raise UsageError("AnyInit is not installed, and is not a dependency of this project: pip install anyinit") from None
    listed = list(cases or sorted(list_cases(), key=lambda case: ("hf", "torchvision", "timm").index(case.source)))
    done: dict[str, tuple[Outcome, Outcome]] = {}
    for case in listed:
        try:
            done[case.name] = (outcome(case, ours), outcome(case, anyinit))
        except ImportError as error:
            console.print(f"{case.name} cannot be built: {error}", soft_wrap=True)
            continue
        own, other = map(_cell, done[case.name])
        console.print(f"{len(done)}/{len(listed)}  {case.name}  idinit: {own}; AnyInit: {other}", soft_wrap=True)
        write_markdown(folder / "anyinit.md", side_by_side_page(done, len(listed)))


def side_by_side_page(done: dict[str, tuple[Outcome, Outcome]], listed: int) -> list[Block]:
    """The blocks of the page: counts of both libraries, and each network.

    Args:
        done: Of each network by name the outcomes of this library and of AnyInit.
        listed: How many networks there are to measure.
    """
    columns = list(zip(*done.values(), strict=True))
    counts = [(name, *_counts(outcomes)) for name, outcomes in zip(("idinit", "AnyInit"), columns, strict=True)]
    head = ["library", "networks", "read as a graph", "as a chain", "failed", "finite outputs", "seconds, sum"]
    cells = [
        (name, *(_cell(o) for o in pair), f"{pair[0].seconds:.1f}", f"{pair[1].seconds:.1f}") for name, pair in done.items()
    ]
    sources = Counter(name.partition(":")[0] for name in done)
    missing = [library for source, library in LIBRARIES.items() if source not in sources]
    which = "They are " + ", ".join(f"{count} of {LIBRARIES.get(source, source)}" for source, count in sources.items())
    which += f"; {' and '.join(missing)} not measured, so the counts say nothing of these" * bool(missing)
    return [
        Heading(1, "Beside AnyInit"),
        f"Made by `python scripts/bench.py anyinit`, on {len(done)} of the {listed} networks of the coverage, {_HOW}",
        f"{which}.",
        table("Both libraries", head, counts),
        _HAS,
        table("Every network", ["network", "idinit", "AnyInit", "idinit, s", "AnyInit, s"], cells, left=3),
        f"anyinit {version('anyinit')}, {this_machine()}.",
    ]


def _counts(outcomes: Iterable[Outcome]) -> tuple[str, ...]:
    found = list(outcomes)
    read = [outcome.read for outcome in found]
    numbers = (len(found), read.count("graph"), read.count("linear"), read.count(""), sum(o.is_finite for o in found))
    return (*map(str, numbers), f"{sum(o.seconds for o in found):.0f}")


def _cell(outcome: Outcome) -> str:
    return outcome.problem or ("graph" if outcome.read == "graph" else "a chain") + ", not finite" * (not outcome.is_finite)
