"""Exit codes and the errors behind them."""

from __future__ import annotations

from idinit.errors import UsageError

EXIT_OK = 0  # done, or diverged: divergence is a result
EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_PREEMPTED = 75  # EX_TEMPFAIL: run the same command again


class RunLocked(UsageError):
    """Another process is training this run."""


class LostProcess(RuntimeError):
    """Of the processes that train a run together one has ended. Exit code 1; the same command goes on."""


class Preempted(BaseException):
    """The run was told to stop (SIGTERM) and has saved itself. Exit code 75.

    Like KeyboardInterrupt no Exception, so that a multirun stops with it instead of going on to its next job.
    """
