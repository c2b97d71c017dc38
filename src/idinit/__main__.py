"""The command line: ``python -m idinit inspect timm:resnet50 --init idinit``."""

from __future__ import annotations

from .command import clear_end
from .commands import main

if __name__ == "__main__":
    with clear_end():
        main()
