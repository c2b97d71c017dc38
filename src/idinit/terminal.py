"""Prepares the output of commands for any terminal and machine."""

from __future__ import annotations

import logging
import sys
from io import TextIOWrapper


def prepare_output() -> None:
    """Keeps what is printed readable wherever it goes; for the beginning of a command.

    Characters that the output's encoding lacks become question marks instead of errors, and torch does not warn of CUDA's
    tools on a machine without a GPU.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
