"""Registries: the names a config may use, and what may be said after each name.

A registered function's keyword-only parameters are its options; their annotations are checked when a config or a caller
sets them. Adding an entry is writing one function.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from .errors import UsageError, did_you_mean

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry(Generic[F]):
    """One registered function.

    Attributes:
        name: What a config calls it.
        build: The function.
        summary: First line of its docstring.
        facts: What else was said of it when it was registered (paper, claims, needs).
        options: A pydantic model of its keyword-only parameters, with their defaults.
    """

    name: str
    build: F
    summary: str
    facts: Mapping[str, Any]
    options: type[BaseModel]


class Registry(Generic[F]):
    """A mapping from names to functions that checks options and suggests the nearest name."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry[F]] = {}

    def register(self, name: str, **facts: Any) -> Callable[[F], F]:
        """Registers the decorated function under ``name``.

        Raises:
            ValueError: If the name is taken.
        """

        def add(build: F) -> F:
            if name in self._entries:
                raise ValueError(f"{self.kind} '{name}' is registered twice")
            summary = (inspect.getdoc(build) or "").split("\n", 1)[0]
            self._entries[name] = Entry(name, build, summary, facts, _options_of(build))
            return build

        return add

    def __getitem__(self, name: str) -> Entry[F]:
        """The entry called ``name``.

        Raises:
            UsageError: If there is none; the message suggests the nearest names.
        """
        if name not in self._entries:
            raise UsageError(f"unknown {self.kind} '{name}': {did_you_mean(name, self._entries)}")
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def check(self, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """All options of an entry: the given ones checked, the others at their defaults.

        Raises:
            UsageError: If the name or an option is unknown, or a value is out of range.
        """
        model = self[name].options
        try:
            checked = model(**options)
        except ValidationError as error:
            raise UsageError(f"{self.kind} '{name}': {explain(error, '', model.model_fields)}") from None
        return {key: getattr(checked, key) for key in model.model_fields}


def _options_of(build: Callable[..., Any]) -> type[BaseModel]:
    hints = get_type_hints(build, include_extras=True)
    fields: dict[str, Any] = {
        p.name: (hints[p.name], ... if p.default is p.empty else p.default)
        for p in inspect.signature(build).parameters.values()
        if p.kind is p.KEYWORD_ONLY
    }
    return create_model(f"{build.__name__}_options", __config__=ConfigDict(extra="forbid"), **fields)


def explain(error: ValidationError, where: str, keys: Iterable[str]) -> str:
    """Turns pydantic's report into one line in the words of the config.

    Args:
        error: What pydantic raised.
        where: The config group, e.g. ``optim``; empty for the top level.
        keys: The valid keys of that group, named when one is unknown.

    Returns:
        One line; several problems are separated by semicolons.
    """
    problems = []
    for item in error.errors(include_url=False):
        path = ".".join(str(p) for p in ([where] if where else []) + [*item["loc"]])
        if item["type"] == "extra_forbidden":
            problems.append(f"unknown key '{path}': {did_you_mean(item['loc'][-1], keys)}")
        elif item["type"] == "missing":
            problems.append(f"'{path}' is missing")
        else:
            message = item["msg"].removeprefix("Value error, ")
            problems.append(f"'{path}={item['input']}': {message[0].lower()}{message[1:]}")
    return "; ".join(problems)
