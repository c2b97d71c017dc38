"""The command line of the suite: ``python -m idinit_suite status``."""

from __future__ import annotations

from idinit.terminal import prepare_output

from .cli import clear_end
from .commands import main

if __name__ == "__main__":
    prepare_output()
    with clear_end():
        main()
