"""Seeds for separate purposes, derived from the one seed of a run.

Initialization, data order, augmentation and dropout each get a stream of their own, so that a change in one never moves
another: runs that differ only in the initializer see the same batches.
"""

from __future__ import annotations

import hashlib

import torch


def derive(seed: int, *purpose: int | str) -> int:
    """A seed for one purpose: the first 63 bits of the SHA-256 of ``(seed, *purpose)`` written as text.

    Args:
        seed: The seed of the run.
        *purpose: What the numbers are for, e.g. ``"augment", step``. Plain integers and strings, whose text is the same
            on every machine.

    Returns:
        An integer in [0, 2^63).
    """
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, *purpose: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A new generator on ``device``, seeded with `derive(seed, *purpose)`."""
    return torch.Generator(device).manual_seed(derive(seed, *purpose))
