"""The part that each weight has in a network, found from the graph of one forward pass."""

from .find import find_parts, find_structure
from .structure import Branch, Part, Slice, Structure

__all__ = ["Branch", "Part", "Slice", "Structure", "find_parts", "find_structure"]
