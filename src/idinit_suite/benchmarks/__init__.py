"""Throughput of the training loop against its ceiling and against what people would use instead; time to initialize."""

from .initialization import write_initialization
from .loading import has_pictures, write_loading
from .throughput import Contest, bench, show, write_page

__all__ = ["Contest", "bench", "has_pictures", "show", "write_initialization", "write_loading", "write_page"]
