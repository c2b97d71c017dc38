"""Throughput of the training loop against its ceiling and against others; and the time and the effect of initialization."""

from .initialization import write_initialization
from .loading import has_pictures, write_loading
from .throughput import bench, write_page
from .without_norms import write_training

__all__ = ["bench", "has_pictures", "write_initialization", "write_loading", "write_page", "write_training"]
