"""The command line: ``python -m idinit inspect timm:resnet50 --init idinit``."""

from __future__ import annotations

from .cli import run

if __name__ == "__main__":
    run()
