"""The result of `examine`: a record that prints as a table, that notebooks show, and that tests can assert."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from ..tables import html_table, markdown_table, text_table
from .branches import BranchSize
from .findings import Finding
from .forward_pass import Softmax
from .series import Matrix, Series
from .signal_profile import SignalPoint

_COLUMNS = ("part", "weights", "shape", "looks", "spread", "with depth", "first")


@dataclass(frozen=True)
class Examination:
    """The state of a network's initialization: ``str(examination)`` is a table and the findings.

    Attributes:
        model: Class of the network.
        matrices: Its linear maps and embeddings, each with what its values look like.
        series: The same, grouped by what they do in one layer after another.
        signals: Sizes of activations and gradients, in the order of execution.
        branches: Sizes of the residual branches, in the order of their sums.
        softmaxes: How evenly its softmaxes spread.
        findings: What is wrong; empty where all is well.
        notes: What could not be measured, and why.
    """

    model: str
    matrices: tuple[Matrix, ...]
    series: tuple[Series, ...]
    signals: tuple[SignalPoint, ...]
    branches: tuple[BranchSize, ...]
    softmaxes: tuple[Softmax, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    @property
    def is_healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def assert_healthy(self) -> None:
        """Raises an error that names what was found, if anything was.

        Raises:
            AssertionError: If something was found; its text has a line for each finding.
        """
        if self.findings:
            raise AssertionError("\n".join([f"{self.model} is not well initialized:", *map(str, self.findings)]))

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain lists, dictionaries, numbers and strings; ``json.dumps`` writes them."""
        return {
            "model": self.model,
            "matrices": [
                {**asdict(m), "shape": list(m.shape), "looks": {**asdict(m.looks), "spread": m.looks.spread}}
                for m in self.matrices
            ],
            "series": [{"parameters": list(s.names), "part": s.part, "exponent": s.exponent} for s in self.series],
            "signals": [asdict(signal) for signal in self.signals],
            "branches": [asdict(branch) for branch in self.branches],
            "softmaxes": [asdict(softmax) for softmax in self.softmaxes],
            "findings": [{**asdict(finding), "where": list(finding.where)} for finding in self.findings],
            "notes": list(self.notes),
        }

    def to_markdown(self) -> str:
        """The table and the findings in Markdown."""
        lines = [f"## {self.model}", "", markdown_table(_COLUMNS, self._rows())]
        lines += ["", *self._summary(), "", *(f"- **{f.kind}**: {f}" for f in self.findings)]
        return "\n".join(lines).rstrip() + "\n"

    def _repr_html_(self) -> str:
        found = "".join(f"<li><b>{f.kind}</b>: {escape(str(f))}</li>" for f in self.findings)
        summary = "<br>".join(map(escape, self._summary()))
        return f"{html_table(_COLUMNS, self._rows(), self.model)}<p>{summary}</p><ul>{found}</ul>"

    def __str__(self) -> str:
        lines = [self.model, "", text_table(_COLUMNS, self._rows()), "", *self._summary()]
        return "\n".join(lines + [f"{i}. [{f.kind}] {f}" for i, f in enumerate(self.findings, start=1)])

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for one in self.series:
            first = one.matrices[0]
            spreads = [m.looks.spread for m in one.matrices]
            power = "" if len(spreads) == 1 else "varies" if one.exponent is None else f"(l+1)^{one.exponent:.2f}"
            yield (
                first.part,
                str(len(spreads)),
                "x".join(map(str, first.shape)),
                ", ".join(dict.fromkeys(m.looks.rule for m in one.matrices)),
                _range(spreads),
                "constant" if one.exponent == 0 and len(spreads) > 1 else power,
                first.parameter,
            )

    def _summary(self) -> Iterator[str]:
        yield "Spread is the root mean square of a weight times sqrt(fan-in); l counts the weights of a row from 0."
        path = [s for s in self.signals if s.part not in ("query", "key", "gate")]
        if path:
            activations, gradients = [s.activation for s in path], [s.gradient for s in path]
            yield f"Activations, from the first layer to the last: {_course(activations)}; gradients: {_course(gradients)}."
        if self.branches:
            yield f"{len(self.branches)} residual branches add {_range([b.ratio for b in self.branches])} of their input."
        if self.softmaxes:
            evenness = [softmax.evenness for softmax in self.softmaxes]
            yield f"{len(evenness)} softmaxes with a mean normalized entropy of {_range(evenness)} (1: uniform, 0: one-hot)."
        yield from (f"Note: {note}" for note in self.notes)
        yield f"{len(self.findings)} findings." if self.findings else "Nothing found."


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.3g}" if f"{low:.2g}" == f"{high:.2g}" else f"{low:.3g} to {high:.3g}"


def _course(values: Sequence[float]) -> str:
    return f"{values[0]:.2g} -> {values[-1]:.2g} (between {min(values):.2g} and {max(values):.2g})"
