"""Errors a person can act on: one line that names what was wrong, the valid choices and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pydantic import ValidationError

EXIT_OK = 0  # done, or diverged: divergence is a result
EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_PREEMPTED = 75  # EX_TEMPFAIL: run the same command again


class UsageError(ValueError):
    """What was asked for cannot be done as asked; the message says what to ask instead. Exit code 2."""


class RunLocked(UsageError):
    """Another process is training this run."""


class Preempted(BaseException):
    """The run was told to stop (SIGTERM) and has saved itself. Exit code 75.

    Like KeyboardInterrupt no Exception, so that a multirun stops with it instead of going on to its next job.
    """


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
