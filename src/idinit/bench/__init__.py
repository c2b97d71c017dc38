"""Throughput of the training loop against its ceiling and against what people would use instead."""

from .contest import Contest, bench, show, write_page

__all__ = ["Contest", "bench", "show", "write_page"]
