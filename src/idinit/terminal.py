"""What commands print, on any terminal and machine, and how they end."""

from __future__ import annotations

import logging
import os
import sys
from io import TextIOWrapper
from typing import NoReturn


def prepare_output() -> None:
    """Keeps what is printed readable wherever it goes; for the beginning of a command.

    Characters that the output's encoding lacks become question marks instead of errors, and torch does not warn of CUDA's
    tools on a machine without a GPU.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)


def end(line: str, code: int) -> NoReturn:
    """Ends the process with a line about what went wrong, and an exit code."""
    print(f"idinit: {line}", file=sys.stderr)
    sys.exit(code)


def end_unread() -> NoReturn:
    """Ends the process where the reader of its output has stopped, as head and pagers do."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it ends
    sys.exit(1)
