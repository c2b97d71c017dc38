"""The pictures of a data set too large to read as a whole: what is known of their files, and a checksum over that."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Listing:
    """The pictures of a reader, as far as they are known without reading them.

    Attributes:
        names: Their names.
        sizes: Of their files, in bytes.
        labels: Their classes, int64 [N].
    """

    names: Sequence[str]
    sizes: Sequence[int]
    labels: Tensor


def listing_checksum(listings: Mapping[str, Listing]) -> str:
    """SHA-256 in hex over the names, the sizes and the classes of all pictures: their contents would take hours to read."""
    digest = hashlib.sha256()
    for split, listing in listings.items():
        for name, size, label in zip(listing.names, listing.sizes, listing.labels.tolist(), strict=True):
            digest.update(f"{split}/{name} {size} {label}\n".encode())
    return digest.hexdigest()
