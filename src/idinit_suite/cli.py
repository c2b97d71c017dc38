"""The end of a command: one clear line for what a user can fix, and the exit codes of the project."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from idinit.errors import UsageError
from idinit.terminal import end, end_unread, prepare_output

from .config import check_choices, hydra_words, usage_error
from .errors import EXIT_FAILURE, EXIT_OK, EXIT_PREEMPTED, EXIT_USAGE, LostProcess, Preempted

_DISK = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota is used up",
    errno.EFBIG: "the file is larger than allowed",
    errno.EROFS: "the disk is read-only",
}


def run_command(main: Callable[[], Any]) -> NoReturn:
    """Runs ``main`` and exits: 0 done, 2 a mistake in what was asked, 75 preempted, 1 anything else."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    prepare_output()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing and exiting with 1
    sys.argv[1:] = hydra_words(sys.argv[1:])
    with clear_end():
        check_choices(sys.argv[1:])
        main()
    sys.exit(EXIT_OK)


@contextmanager
def clear_end() -> Iterator[None]:
    """Turns an error that a user can fix, raised in the block, into one line and the end of the process."""
    try:
        yield
    except UsageError as error:
        end(str(error), EXIT_USAGE)
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        end(str(usage_error(error, sys.argv[1:])), EXIT_USAGE)
    except LostProcess as error:
        end(str(error), EXIT_FAILURE)
    except Preempted as stop:
        end(f"stopped: {stop}; run the same command again to go on", EXIT_PREEMPTED)
    except KeyboardInterrupt:
        end("interrupted; the last checkpoint is kept, run the same command again to go on", EXIT_PREEMPTED)
    except BrokenPipeError:
        end_unread()
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        what = _DISK.get(error.errno or 0, error.strerror)
        place = f" '{error.filename}'" if error.filename else ""
        end(
            f"cannot read or write{place}: {what}; what was saved before is intact, "
            "and the same command resumes from there once this is fixed",
            EXIT_FAILURE,
        )
