"""How a command ends: one clear line for what a person can mend, and the exit codes of the project."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from hydra.errors import HydraException

from .config import usage_error
from .errors import EXIT_FAILURE, EXIT_OK, EXIT_PREEMPTED, EXIT_USAGE, Preempted, UsageError

_DISK = {errno.ENOSPC: "the disk is full", errno.EROFS: "the disk is read-only", errno.EDQUOT: "the quota is used up"}


def run_command(main: Callable[[], Any]) -> NoReturn:
    """Runs ``main`` and exits: 0 done, 2 a mistake in what was asked, 75 preempted, 1 anything else."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing and exiting with 1
    sys.exit(_exit_code(main))


def _exit_code(main: Callable[[], Any]) -> int:
    try:
        main()
    except UsageError as error:
        return _say(str(error), EXIT_USAGE)
    except HydraException as error:
        return _say(str(usage_error(error, sys.argv[1:])), EXIT_USAGE)
    except Preempted as stop:
        return _say(f"stopped: {stop}; run the same command again to go on", EXIT_PREEMPTED)
    except KeyboardInterrupt:
        return _say("interrupted; the last checkpoint is kept, run the same command again to go on", EXIT_PREEMPTED)
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        what = _DISK.get(error.errno or 0, error.strerror)
        place = f" ({error.filename})" if error.filename else ""
        return _say(f"cannot write or read{place}: {what}; what was saved before is intact", EXIT_FAILURE)
    return EXIT_OK


def _say(line: str, code: int) -> int:
    print(f"idinit: {line}", file=sys.stderr)
    return code
