"""Errors a person can act on: one line that names what was wrong, the valid choices and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class UsageError(ValueError):
    """A request that cannot be carried out; the message says what to ask for instead."""


def did_you_mean(name: object, choices: Iterable[str]) -> str:
    """The end of an error line: the nearest of the valid choices, then all of them.

    Args:
        name: What was asked for.
        choices: Every valid name.

    Returns:
        A phrase such as ``did you mean 'fixup'? Valid: default, fixup``.
    """
    names = sorted(choices)
    return " ".join(filter(None, (nearest(name, names), f"Valid: {', '.join(names) or 'none'}")))


def nearest(name: object, choices: Iterable[str]) -> str:
    """The question ``did you mean 'fixup'?`` where a choice is near, for choices too many to list; else nothing."""
    near = difflib.get_close_matches(str(name), list(choices), n=2, cutoff=0.5)
    return f"did you mean {' or '.join(repr(n) for n in near)}?" if near else ""


def kind_and_reason(error: Exception) -> str:
    """An error of someone else's code in one line: its kind, without which a ``KeyError`` is a word, and its message."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


@contextmanager
def needs_extra(extra: str, what: str) -> Iterator[None]:
    """Turns a missing optional package, imported in the block, into a line that says how to install it.

    Args:
        extra: The extra of this package that brings it, e.g. ``plot``.
        what: What needs it, the subject of the error's sentence.

    Raises:
        UsageError: If a package is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise UsageError(f"{what} needs {error.name}, which is not installed: pip install 'idinit[{extra}]'") from error
