"""Registries of functions by name, with checked options.

A registered function's keyword-only parameters are its options; their annotations are checked when a caller sets them.
Adding an entry is writing one function.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_args, get_type_hints, overload

from pydantic import BaseModel, ValidationError, create_model
from pydantic.fields import FieldInfo

from .errors import UsageError, did_you_mean
from .options import Options

F = TypeVar("F", bound=Callable[..., Any])
InfoT = TypeVar("InfoT")

_TYPE = re.compile(r"(int|float|str|bool|constrained-\w+)$")  # pydantic's names for the types of a union


@dataclass(frozen=True)
class Entry(Generic[F, InfoT]):
    """One registered function.

    Attributes:
        name: Name by which it is chosen.
        build: The function.
        summary: First line of its docstring.
        info: Its description; None in a registry without any.
        largest: Whole number that an option may have; None for any of 64 bits.
    """

    name: str
    build: F
    summary: str
    info: InfoT
    largest: int | None = None

    @functools.cached_property
    def options(self) -> type[Options]:
        """A pydantic model of the function's keyword-only parameters, with their defaults."""
        return _options_of(self.build, self.largest)


class Registry(Generic[F, InfoT]):
    """A mapping from names to functions that checks options and suggests the nearest name.

    ``InfoT`` is a frozen dataclass that describes an entry, or None where entries have no description.
    """

    def __init__(self, kind: str, *, largest: int | None = None) -> None:
        """Begins without entries.

        Args:
            kind: What errors call an entry.
            largest: Whole number that an option may have; None for any of 64 bits.
        """
        self.kind = kind
        self.largest = largest
        self._entries: dict[str, Entry[F, InfoT]] = {}

    @overload
    def register(self: Registry[F, None], name: str) -> Callable[[F], F]: ...
    @overload
    def register(self, name: str, info: InfoT) -> Callable[[F], F]: ...
    def register(self, name: str, info: Any = None) -> Callable[[F], F]:
        """Registers the decorated function.

        Args:
            name: Name by which it is chosen.
            info: What is known of it.

        Raises:
            ValueError: If the name is taken.
        """

        def add(build: F) -> F:
            if name in self._entries:
                raise ValueError(f"{self.kind} '{name}' is registered twice")
            summary = (inspect.getdoc(build) or "").split("\n", 1)[0]
            self._entries[name] = Entry(name, build, summary, info, self.largest)
            return build

        return add

    def __getitem__(self, name: str) -> Entry[F, InfoT]:
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

    def check(self, name: str, options: Mapping[str, Any], where: str = "") -> dict[str, Any]:
        """All options of an entry: the given ones checked, the others at their defaults.

        Args:
            name: Of the entry.
            options: Its options that are given.
            where: What errors put before the name of an option, as ``optim`` in ``optim.lr``; empty for the name alone.

        Raises:
            UsageError: If the name or an option is unknown, or a value is out of range.
        """
        model = self[name].options
        try:
            checked = model(**options)
        except ValidationError as error:
            raise UsageError(f"{self.kind} '{name}': {explain(error, where, model.model_fields)}") from None
        return {key: getattr(checked, key) for key in model.model_fields}


def _options_of(build: Callable[..., Any], largest: int | None) -> type[Options]:
    hints = get_type_hints(build, include_extras=True)
    fields: dict[str, Any] = {
        p.name: (hints[p.name], ... if p.default is p.empty else p.default)
        for p in inspect.signature(build).parameters.values()
        if p.kind is p.KEYWORD_ONLY
    }
    bounds = {"__module__": __name__} if largest is None else {"__module__": __name__, "largest": largest}
    return create_model(f"{build.__name__}_options", __base__=type("Bounded", (Options,), bounds), **fields)


def explain(error: ValidationError, where: str, fields: Mapping[str, FieldInfo]) -> str:
    """Turns pydantic's report into one line in terms of the caller's options.

    Args:
        error: What pydantic raised.
        where: What the options are of, such as ``optim``; empty for the top level.
        fields: The valid keys there, named when one is unknown.

    Returns:
        One line; several problems are separated by semicolons.
    """
    problems: dict[str, list[str]] = {}  # of an option of several types, what each of them says
    found = error.errors(include_url=False)
    for item in found:
        if item["type"] == "too_short" and any(other["loc"][:-1] == item["loc"] for other in found):
            continue  # pydantic counts only the elements that are valid
        path = ".".join(([where] if where else []) + [str(part) for part in item["loc"] if not _TYPE.match(str(part))])
        if item["type"] == "extra_forbidden":
            problems[f"unknown key '{path}'"] = [did_you_mean(item["loc"][-1], _nested(fields, item["loc"][:-1]))]
        elif item["type"] == "missing":
            problems[f"'{path}' is missing"] = []
        else:
            message = item["msg"].removeprefix("Value error, ")
            of_a_group = item["type"] == "value_error" and isinstance(item["input"], dict)  # which options do not go together
            what = f"'{path}'" if of_a_group else f"'{path}={item['input']}'"
            problems.setdefault(what, []).append(f"{message[0].lower()}{message[1:]}")
    return "; ".join(": ".join(filter(None, (what, ", or ".join(reasons)))) for what, reasons in problems.items())


def _nested(fields: Mapping[str, FieldInfo], path: Sequence[int | str]) -> Mapping[str, FieldInfo]:
    """The fields of a model that lies within another; none where something else lies there."""
    for name in path:
        annotation = fields[str(name)].annotation if name in fields else None
        kinds = get_args(annotation) or (annotation,)
        fields = next((kind.model_fields for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), {})
    return fields
