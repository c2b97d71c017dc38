"""Masked language modelling on a folder of text files: tokenized once, kept in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PositiveInt
from tokenizers import Tokenizer
from torch import Tensor

from idinit.errors import UsageError

from ...seeds import generator
from .. import cache
from ..base import DATASETS, DatasetInfo, Inputs, Stateless
from ..context import DataContext
from ..hidden import visible
from ..order import EpochOrder
from ..rows import text_lines
from ..spec import MaskedTokens
from .masking import Masking
from .packing import Packer
from .tokenizer import VERSION, first_ordinary, number_of, tokenizer_for

HELD_OUT = 100  # one of this many documents, where there is no validation file
Share = Annotated[float, Field(gt=0, lt=1)]


class MaskedBatches(Stateless):
    """Implements `idinit_suite.data.Batches` for texts in memory, of which some tokens are masked anew in each step.

    What is masked in a step is drawn from ``(seed, "mask", step)``; in evaluation it is the same in every run.
    """

    def __init__(
        self,
        texts: Mapping[str, Tensor],
        masking: Masking,
        source: str,
        checksum: str,
        context: DataContext,
        *,
        batch_size: int,
        padding: int,
    ) -> None:
        """Moves the texts to the device.

        Args:
            texts: Tokens of ``train`` and ``validation``, int32 [N, T].
            masking: What is to be guessed.
            source: Title of what was read.
            checksum: Of the texts.
            context: Where batches are made.
            batch_size: Texts in a training batch of all processes together.
            padding: Number of the token that fills up shorter texts; there are none here, but models ask for it.

        Raises:
            UsageError: If an epoch would have no batch, nothing is held out, or the batch cannot be shared out evenly.
        """
        if not len(texts["validation"]):
            raise UsageError(
                f"what is held out for validation is too little for one text of data.length={texts['train'].shape[1]} tokens: "
                "add documents, to validation.txt if there is one, or ask for shorter texts"
            )
        self._order = EpochOrder(len(texts["train"]), batch_size, context, noun="texts")
        self.batch_size, self.steps_per_epoch = batch_size, self._order.steps_per_epoch
        self._texts = {split: tokens.to(context.device) for split, tokens in texts.items()}
        self._masking, self._context = masking, context
        length = texts["train"].shape[1]
        self.spec = MaskedTokens(masking.vocabulary, length, padding)
        self.tokens_per_step = batch_size * length
        self.source, self.checksum, self.facts = source, checksum, dict[str, Any]()

    @property
    def splits(self) -> Mapping[str, int]:
        """Number of texts in each split."""
        return {split: len(tokens) for split, tokens in self._texts.items()}

    def example_inputs(self, count: int = 2) -> Inputs:
        """The first training texts, masked: tokens, int64 [count, T], and positions to guess, int64 [count, M]."""
        return self._masked(self._texts["train"][:count], 0, "example")[0]

    def train_batch(self, step: int) -> tuple[Inputs, Tensor]:
        """This process's share of a training batch.

        Args:
            step: Global step from 0, through all epochs.

        Returns:
            Tokens, int64 [B, T], with positions to guess, int64 [B, M], and the tokens there, int64 [B * M]; B is
            ``batch_size / world_size``.
        """
        return self._share(self._masked(self._texts["train"][self._order.batch(step)], self._context.seed, "mask", step))

    def evaluation_batches(self, split: str) -> Iterator[tuple[Inputs, Tensor]]:
        """This process's share of a split, as `train_batch`; the last batch may be smaller."""
        for number, tokens in enumerate(self._texts[split].split(self.batch_size)):
            share = self._share(self._masked(tokens, 0, split, number))
            if len(share[1]):
                yield share

    def _masked(self, tokens: Tensor, seed: int, *purpose: int | str) -> tuple[Inputs, Tensor]:
        return self._masking(tokens.long(), generator(seed, *purpose, device=self._context.device))

    def _share(self, batch: tuple[Inputs, Tensor]) -> tuple[Inputs, Tensor]:
        """Of a batch that all processes have drawn alike, this one's texts, the targets in one row."""
        (tokens, positions), targets = batch
        mine = self._context.local_slice(self.batch_size)
        return (tokens[mine], positions[mine]), targets[mine].flatten()


def masking_for(tokenizer: Tokenizer, length: int, share: float) -> Masking:
    """The masking of texts of this tokenizer: a share of their tokens, rounded, at least one."""
    count = max(1, round(share * length))
    return Masking(count, number_of(tokenizer, "[MASK]"), first_ordinary(tokenizer), tokenizer.get_vocab_size())


def read_documents(path: Path) -> list[str]:
    """The lines of a text file that are not blank: one document each.

    Raises:
        UsageError: If it is not UTF-8 or has no document.
    """
    documents = [line.strip() for _, line in text_lines(path)]
    if not documents:
        raise UsageError(f"{path} is empty: delete it or fill it")
    return documents


@DATASETS.register("corpus", DatasetInfo(MaskedTokens))
def corpus(
    context: DataContext,
    *,
    batch_size: PositiveInt = 32,
    folder: str = "corpus",
    length: Annotated[int, Field(ge=8)] = 128,
    masked: Share = 0.15,
    tokenizer: str | None = None,
    vocabulary: Annotated[int, Field(ge=100)] = 8192,
    train_limit: PositiveInt | None = None,
) -> MaskedBatches:
    """Masked language modelling on the text files of a folder in the data root, one document a line.

    ``validation.txt`` is the validation split and the others train; without it, each hundredth document is held out.
    """
    where = context.root / folder
    files = visible(where, "*.txt")
    if not files:
        raise UsageError(
            f"data 'corpus': there are no text files {where / '*.txt'}: set the data root (DATA=... with make, "
            "paths.data=... otherwise) or data.folder to where they are, one document a line, in UTF-8"
        )
    kept, of_files = cache.folder(context.root), cache.key(files)
    own = kept / f"tokenizer{VERSION}-{of_files}-{vocabulary}.json"
    words = tokenizer_for(tokenizer, context.root, vocabulary, lambda: split_documents(files)["train"], own)
    of_words = hashlib.sha256(words.to_str().encode()).hexdigest()[:12]

    def build() -> cache.Content:
        packed = {split: Packer(words, length).read(iter(documents)) for split, documents in split_documents(files).items()}
        return packed, {"source": f"{folder} ({', '.join(path.name for path in files)})"}

    texts, facts = cache.cached(kept / f"corpus-{of_files}-{of_words}-{length}.safetensors", build)
    texts["train"] = texts["train"][:train_limit]
    return MaskedBatches(
        texts,
        masking_for(words, length, masked),
        facts["source"],
        facts["checksum"],
        context,
        batch_size=batch_size,
        padding=number_of(words, "[PAD]"),
    )


def split_documents(files: list[Path]) -> dict[str, list[str]]:
    """The documents of some files: those of ``validation.txt``, or else each hundredth, validate."""
    held_out = [document for path in files if path.stem == "validation" for document in read_documents(path)]
    train = [document for path in files if path.stem != "validation" for document in read_documents(path)]
    if not held_out:
        held_out = train[HELD_OUT - 1 :: HELD_OUT]
        train = [document for number, document in enumerate(train, start=1) if number % HELD_OUT]
    return {"train": train, "validation": held_out}
