"""Masked language modelling on corpora too large to keep: read from the Hugging Face hub during training."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import Annotated, Any

import torch
import torch.distributed as dist
from pydantic import Field, PositiveInt
from tokenizers import Tokenizer
from torch import Tensor

from idinit.errors import UsageError

from .. import cache
from ..base import DATASETS, DatasetInfo, Inputs
from ..context import DataContext
from ..locate import NotHere, attempt
from ..spec import MaskedTokens
from .corpus import MaskedBatches, Share, masking_for
from .hub import WIKIPEDIA_BOOKS, in_turn, mixed
from .masking import Masking
from .packing import Packer, chunks
from .tokenizer import VERSION, number_of, tokenizer_for

_TRAINED_ON = 200_000  # documents, where a tokenizer is trained


class Texts:
    """The texts of a stream in blocks; documents of the next block are read while one is in use.

    Of several processes each reads the whole stream and tokenizes its share of the documents. They exchange the tokens where a
    block begins, in the order of the documents, so that all have the texts that one process alone would have.

    Attributes:
        number: Of the block in use, from 0.
        state: Where it begins in the stream.
    """

    def __init__(self, documents: Any, tokenizer: Tokenizer, length: int, size: int, context: DataContext) -> None:
        """Begins to read.

        Args:
            documents: An iterable data set without end, with the column ``text``.
            tokenizer: Of the texts.
            length: Tokens of a text.
            size: Texts in a block.
            context: Whose processes share the work, where they have joined; all take the same blocks.
        """
        self._documents, self._packer, self._size = documents, Packer(tokenizer, length), size
        alone = context.world_size == 1 or not dist.is_initialized()
        self._context = replace(context, rank=0, world_size=1) if alone else context
        self._thread = ThreadPoolExecutor(1)
        self._start = {"number": 0, "stream": self._position(), "rest": torch.empty(0, dtype=torch.int32)}
        self.load_state_dict(self._start)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes to where a block begins."""
        self._thread.submit(self._seek, state["stream"]).result()
        self._rest, self.number = state["rest"], state["number"] - 1
        self._coming: Future[tuple[str, list[Tensor]]] = self._thread.submit(self._read, 1)
        self._advance()

    def block(self, number: int) -> Tensor:
        """The texts of a block, int32 [size, length]."""
        if number < self.number:
            self.load_state_dict(self._start)
        while self.number < number:
            self._advance()
        return self._texts

    def _advance(self) -> None:
        """Completes the block that was begun, and begins to read for the next one."""
        wanted = self._size * self._packer.inside
        position, shares = self._coming.result()
        self.number += 1
        self.state = {"number": self.number, "stream": position, "rest": self._rest}
        read = [self._rest, *self._exchange(shares)]
        while (tokens := sum(map(len, read))) < wanted:
            read += self._exchange(self._thread.submit(self._read, 1).result()[1])
        per_chunk = (tokens - len(self._rest)) / (len(read) - 1)
        self._texts, self._rest = self._packer.cut(torch.cat(read), self._size)
        ahead = max(1, math.ceil((wanted - len(self._rest)) / per_chunk))
        self._coming = self._thread.submit(self._read, ahead)

    def _position(self) -> str:
        return json.dumps(self._documents.state_dict())

    def _seek(self, position: str) -> None:
        self._documents.load_state_dict(json.loads(position))
        self._chunks = chunks(row["text"] for row in self._documents)

    def _read(self, count: int) -> tuple[str, list[Tensor]]:
        """Where the next chunks of documents begin, and the tokens of this process's share of each."""
        position = self._position()
        mine = (chunk[self._context.local_slice(len(chunk))] for chunk in islice(self._chunks, count))
        return position, [self._packer.encode(documents) for documents in mine]

    def _exchange(self, shares: list[Tensor]) -> list[Tensor]:
        """The tokens of chunks, of each of which every process has a share."""
        if self._context.world_size == 1:
            return shares
        gathered: list[Any] = [None] * self._context.world_size
        dist.all_gather_object(gathered, shares)
        return [torch.cat(of_a_chunk) for of_a_chunk in zip(*gathered, strict=True)]


class StreamedBatches(MaskedBatches):
    """Masked language modelling on a stream, like `MaskedBatches` but for the training batches.

    These are drawn from blocks of texts, in an order drawn from ``(seed, "order", block)``.
    """

    def __init__(
        self,
        blocks: Texts,
        held_out: Tensor,
        masking: Masking,
        source: str,
        context: DataContext,
        *,
        steps: int,
        batch_size: int,
        padding: int,
    ) -> None:
        """Takes the first block.

        Args:
            blocks: The texts to train on.
            held_out: Those of the validation split, int32 [N, length].
            masking: What is to be guessed.
            source: Title of what is read.
            context: Where batches are made.
            steps: Training batches that count as an epoch.
            batch_size: Texts in a training batch of all processes together.
            padding: As of `MaskedBatches`.
        """
        self._blocks, self._block = blocks, blocks.block(0)
        held = {"train": self._block, "validation": held_out}
        super().__init__(held, masking, source, cache.checksum(held), context, batch_size=batch_size, padding=padding)
        self._per_block, self.steps_per_epoch = self.steps_per_epoch, steps

    def train_batch(self, step: int) -> tuple[Inputs, Tensor]:
        """As `MaskedBatches.train_batch`; fast only for steps in their order."""
        texts = self._blocks.block(step // self._per_block)
        if texts is not self._block:
            self._block, self._texts["train"] = texts, self._context.to_device(texts)
        return super().train_batch(step)

    def state_dict(self) -> dict[str, Any]:
        """The position in the stream at which the block of the last training batch begins."""
        return dict(self._blocks.state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Reads that block again."""
        self._blocks.load_state_dict(state)


@DATASETS.register("wikipedia_books", DatasetInfo(MaskedTokens))
def wikipedia_books(
    context: DataContext,
    *,
    batch_size: PositiveInt = 256,
    length: Annotated[int, Field(ge=8)] = 128,
    masked: Share = 0.15,
    tokenizer: str | None = "google-bert/bert-base-uncased",
    vocabulary: Annotated[int, Field(ge=100)] = 30522,
    validation: PositiveInt = 4096,
    block: PositiveInt = 65536,
    epoch_steps: PositiveInt = 10_000,
) -> StreamedBatches:
    """Masked language modelling on English Wikipedia and BookCorpus, streamed from the Hugging Face hub.

    The documents of the first ``validation`` texts validate and are never trained on. ``epoch_steps`` training batches count
    as an epoch.
    """
    try:
        with attempt("Hugging Face hub"):
            first = in_turn(WIKIPEDIA_BOOKS)
    except NotHere as reason:
        raise UsageError(
            f"data set 'wikipedia_books' was not found. Tried: {reason}. Remedy: run with internet, or train on text files in "
            "the data root: data=corpus data.folder=..."
        ) from None
    source = " and ".join(collection.repository for collection in WIKIPEDIA_BOOKS)
    of_source = hashlib.sha256(source.encode()).hexdigest()[:12]
    own = cache.folder(context.root) / f"tokenizer{VERSION}-{of_source}-{vocabulary}.json"

    def trained_on() -> Iterator[str]:
        return (text for _, text in islice(in_turn(WIKIPEDIA_BOOKS), _TRAINED_ON))

    words = tokenizer_for(tokenizer, context.root, vocabulary, trained_on, own)
    read = [0 for _ in WIKIPEDIA_BOOKS]  # documents of each collection

    def counted() -> Iterator[str]:
        for number, text in first:
            read[number] += 1
            yield text

    held_out = Packer(words, length).read(counted(), validation)
    return StreamedBatches(
        Texts(mixed(WIKIPEDIA_BOOKS, without=read), words, length, block, context),
        held_out,
        masking_for(words, length, masked),
        source,
        context,
        steps=epoch_steps,
        batch_size=batch_size,
        padding=number_of(words, "[PAD]"),
    )
