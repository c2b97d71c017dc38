"""Documents of the Hugging Face hub as a stream that can be resumed at any document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from typing import Any

from ..downloads import load_from_hub


@dataclass(frozen=True)
class Collection:
    """A data set of the hub with a column ``text``.

    Attributes:
        repository: Its name.
        config: Which of its configurations.
        documents: How many it has, by which collections are mixed.
        joined: Rows that make a document.
    """

    repository: str
    config: str | None
    documents: float
    joined: int = 1

    def stream(self) -> Any:
        """Its documents, as an iterable data set."""
        rows = load_from_hub(self.repository, name=self.config, split="train", streaming=True).select_columns(["text"])
        return rows if self.joined == 1 else rows.batch(self.joined).map(_as_one)


# BookCorpus has a sentence a row.
WIKIPEDIA_BOOKS = (
    Collection("wikimedia/wikipedia", "20231101.en", 6.4e6),
    Collection("rojagtap/bookcorpus", None, 74e6 / 128, joined=128),
)


def in_turn(collections: Sequence[Collection]) -> Iterator[tuple[int, str]]:
    """The documents of collections, each with the number of its collection; these take turns in proportion to their sizes."""

    def placed(number: int, collection: Collection) -> Iterator[tuple[float, int, str]]:
        rows = collection.stream()  # now, and not when they are read: a missing one fails at once
        return ((position / collection.documents, number, row["text"]) for position, row in enumerate(rows, start=1))

    every = merge(*(placed(number, collection) for number, collection in enumerate(collections)))
    return ((number, text) for _, number, text in every)


def mixed(collections: Sequence[Collection], without: Sequence[int]) -> Any:
    """Collections as one stream without end, each document from one drawn in proportion to its size.

    Args:
        collections: What is mixed.
        without: How many documents of each are left out, from its beginning and each time it begins again.
    """
    import datasets

    total = sum(collection.documents for collection in collections)
    shares = [collection.documents / total for collection in collections]
    streams = [collection.stream().skip(count) for collection, count in zip(collections, without, strict=True)]
    one = datasets.interleave_datasets(streams, probabilities=shares, seed=0, stopping_strategy="all_exhausted")
    return one.repeat(None)


def _as_one(rows: Mapping[str, list[str]]) -> dict[str, str]:
    return {"text": " ".join(rows["text"])}
