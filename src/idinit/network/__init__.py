"""The network that an initializer gets: its weights by part, filled one by one and recorded."""

from .network import Network, Weight

__all__ = ["Network", "Weight"]
