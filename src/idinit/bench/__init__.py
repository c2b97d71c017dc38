"""Throughput of the training loop against its ceiling and against what people would use instead; time to initialize."""

from .contest import Contest, bench, show, write_page
from .initialization import write_initialization

__all__ = ["Contest", "bench", "show", "write_initialization", "write_page"]
