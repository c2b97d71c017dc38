"""Exit codes and the errors behind them."""

from __future__ import annotations

from collections.abc import Mapping

from idinit.errors import UsageError

EXIT_OK = 0  # done, or diverged: divergence is a result
EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_PREEMPTED = 75  # EX_TEMPFAIL: run the same command again


class RunLocked(UsageError):
    """Another process is training this run."""


class LostProcess(RuntimeError):
    """One of the processes that train a run together has ended. Exit code 1; the same command resumes the run."""


class Preempted(BaseException):
    """The run was told to stop (SIGTERM) and has saved itself. Exit code 75.

    Not an Exception, like KeyboardInterrupt, so that a multirun stops with it instead of starting its next job.
    """


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its kind where it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def in_one_line(error: Exception, limit: int = 300) -> str:
    """An error's message with its lines joined, cut to a number of characters."""
    return " ".join(str(error).split())[:limit]


def not_trained(refused: Mapping[str, str]) -> list[str]:
    """A line for each reason, with all that was not trained for it.

    Args:
        refused: What was not trained -> why.
    """
    alike = {why: [what for what, reason in refused.items() if reason == why] for why in refused.values()}
    return [f"{', '.join(what)} {'was' if len(what) < 2 else 'were'} not trained: {why}" for why, what in alike.items()]
