"""What was done to each parameter, and the lines of the report that say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from ..parts import Structure

LEFT_ALONE = "left alone"


@dataclass(frozen=True)
class Row:
    """One line of the report: a parameter, what it is, and by which rule it was filled."""

    parameter: str
    shape: tuple[int, ...]
    part: str
    rule: str
    note: str = ""


@dataclass
class Record:
    """What was done to each parameter.

    Attributes:
        filled: Part, rule and note of all that a parameter holds; the part is "" where it is filled as a whole.
        notes: More notes.
        added: Lines of what was added to the network.
    """

    filled: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    added: dict[str, Row] = field(default_factory=dict)

    def fill(self, name: str, rule: str, note: str, part: str = "") -> None:
        """Records by which rule a parameter, or one part that it holds, was filled."""
        self.filled.setdefault(name, []).append((part, rule, note))

    def note(self, name: str, text: str) -> None:
        """Adds to what is said of a parameter."""
        self.notes.setdefault(name, []).append(text)

    def rows(self, parameters: Mapping[str, Tensor], structure: Structure) -> list[Row]:
        """A row for every parameter, those of the network first, what was added last."""
        return [self._row(name, value, structure) for name, value in parameters.items()] + list(self.added.values())

    def _row(self, name: str, value: Tensor, structure: Structure) -> Row:
        """The line of a parameter: the rules of the weights it holds, each named once."""
        parts_by_rule: dict[str, list[str]] = {}
        for part, rule, _ in self.filled[name]:
            parts_by_rule.setdefault(rule, []).append(part)
        rules = [f"{', '.join(parts)}: {rule}" if len(parts_by_rule) > 1 else rule for rule, parts in parts_by_rule.items()]
        others = ", ".join(structure.shared.get(name, ()))
        notes = [note for _, _, note in self.filled[name]] + self.notes.get(name, [])
        notes += [f"shared with {others}"] * bool(others)
        part = structure.parts.get(name, "unknown")
        return Row(name, tuple(value.shape), part, "; ".join(rules), "; ".join(filter(None, dict.fromkeys(notes))))
