"""The base of checked options: unknown ones are refused, and numbers that are not finite or too large."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

_LARGEST_INT = 2**63 - 1  # of 64 bits
_LARGEST_FLOAT = 1e38  # of float32, about


class Options(BaseModel):
    """Base of checked options.

    A number is finite and of a size that torch and pandas can hold, and ``true`` is not a number.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    largest: ClassVar[int] = _LARGEST_INT  # whole number

    @field_validator("*", mode="before")
    @classmethod
    def _numbers(cls, value: Any, info: ValidationInfo) -> Any:
        field = cls.model_fields[str(info.field_name)]
        kinds = set(_kinds(field.annotation))
        for number in _flat(value):
            if isinstance(number, bool):
                if kinds & {int, float} and bool not in kinds:
                    raise ValueError(f"{str(number).lower()} is not a number")
            elif abs(number) > (cls.largest if isinstance(number, int) else _LARGEST_FLOAT):
                raise ValueError(f"it must be at most {cls.largest if isinstance(number, int) else _LARGEST_FLOAT:,}")
        return value


def _kinds(annotation: Any) -> Iterator[Any]:
    """The types that an annotation is made of, such as int and float of ``int | tuple[float, ...]``."""
    yield annotation
    for part in get_args(annotation):
        yield from _kinds(part)


def _flat(value: Any) -> Iterator[int | float]:
    """The numbers in a value, and in its items where it is a list."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from _flat(item)
    elif isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):  # pydantic refuses the others
        yield value
